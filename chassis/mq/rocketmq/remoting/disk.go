package remoting

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
)

// The marks of a broker's disk, as deploy/rocketmq/broker.conf sets them: which part of it is used. From Tight on the broker deletes at any hour
// what it has kept for long enough, and operators are told. Beyond Full it takes no message, until no more than 0.85 is used.
const (
	Tight = 0.80
	Full  = 0.90
)

// bareKey is a number that is a key: a broker's id among its addresses, which the name server leaves without quotes.
var bareKey = regexp.MustCompile(`([{,])(\d+):`)

// Brokers returns the addresses of all brokers that the name server at addr knows.
func Brokers(ctx context.Context, addr string) ([]string, error) {
	body, err := Ask(ctx, addr, BrokerClusterInfo)
	if err != nil {
		return nil, fmt.Errorf("name server %s: %w", addr, err)
	}
	var cluster struct {
		Table map[string]struct {
			Addrs map[string]string `json:"brokerAddrs"`
		} `json:"brokerAddrTable"`
	}
	if err := json.Unmarshal(bareKey.ReplaceAll(body, []byte(`$1"$2":`)), &cluster); err != nil {
		return nil, fmt.Errorf("name server %s: %w", addr, err)
	}
	var all []string
	for _, broker := range cluster.Table {
		for _, addr := range broker.Addrs {
			all = append(all, addr)
		}
	}
	slices.Sort(all)
	return all, nil
}

// DiskUsed returns which part of the disk that holds its messages is used, as the broker at addr counts: from 0 to 1, rounded up to a hundredth.
func DiskUsed(ctx context.Context, addr string) (float64, error) {
	body, err := Ask(ctx, addr, BrokerRuntimeInfo)
	if err != nil {
		return 0, fmt.Errorf("broker %s: %w", addr, err)
	}
	var info struct {
		Table struct {
			Disk string `json:"commitLogDiskRatio"`
		} `json:"table"`
	}
	if err := json.Unmarshal(body, &info); err != nil {
		return 0, fmt.Errorf("broker %s: %w", addr, err)
	}
	used, err := strconv.ParseFloat(info.Table.Disk, 64)
	if err != nil || math.IsNaN(used) || used < 0 || used > 1 {
		return 0, fmt.Errorf("broker %s says that %q of its disk is used", addr, info.Table.Disk)
	}
	return used, nil
}
