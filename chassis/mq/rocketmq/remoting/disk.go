package remoting

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// The marks of a broker's disk, as deploy/rocketmq/broker.conf sets them: which part of it is used. From Tight on the broker deletes at any hour
// what it has kept for long enough, and operators are told. Beyond Full it takes no message, until no more than 0.85 is used.
const (
	Tight = 0.80
	Full  = 0.90
)

// DiskUsed returns which part of the disk that holds its messages is used, as the broker at addr counts: from 0 to 1, rounded up to a hundredth.
func (c Credentials) DiskUsed(ctx context.Context, addr string) (float64, error) {
	body, err := c.Ask(ctx, addr, BrokerRuntimeInfo, nil)
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
