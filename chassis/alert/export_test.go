package alert

import (
	"context"

	"example.com/fourfold/chassis/mq"
)

// LookAtDisk looks once, as WatchDisk does.
func (a *Alerts) LookAtDisk(ctx context.Context, d mq.Disk, tight, full float64) error {
	return a.lookAtDisk(ctx, d, tight, full)
}
