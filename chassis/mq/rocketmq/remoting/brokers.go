package remoting

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
)

// Brokers returns the addresses of all brokers that the name server at addr knows, replicas too.
func Brokers(ctx context.Context, addr string) ([]string, error) {
	return brokers(ctx, addr, func(string) bool { return true })
}

// Masters returns the addresses of the brokers that the name server at addr knows and that take messages. A replica does not.
func Masters(ctx context.Context, addr string) ([]string, error) {
	return brokers(ctx, addr, func(id string) bool { return id == "0" })
}

// bareKey is a number that is a key: a broker's id among its addresses, which the name server leaves without quotes.
var bareKey = regexp.MustCompile(`([{,])(\d+):`)

// brokers returns the addresses, sorted, of the brokers that the name server at addr knows and whose id is one that want wants.
func brokers(ctx context.Context, addr string, want func(id string) bool) ([]string, error) {
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
		for id, addr := range broker.Addrs {
			if want(id) {
				all = append(all, addr)
			}
		}
	}
	slices.Sort(all)
	return all, nil
}
