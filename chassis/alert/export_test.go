package alert

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/failover"
)

// LookAtDisk looks once, as WatchDisk does.
func (a *Alerts) LookAtDisk(ctx context.Context, d mq.Disk, tight, full float64) error {
	return a.lookAtDisk(ctx, d, tight, full)
}

// ModeWatch is what one process sees of the way of events.
type ModeWatch struct{ *modeWatch }

// NewModeWatch returns what WatchMode uses, with other times.
func NewModeWatch(a *Alerts, t *failover.Transport, long, settle time.Duration) ModeWatch {
	w := newModeWatch(a, t)
	w.long, w.settle, w.redis.long = long, settle, long
	return ModeWatch{w}
}

// Look looks once, as WatchMode does.
func (w ModeWatch) Look(ctx context.Context) error { return w.look(ctx) }

// LimitsWatch is what one process sees of the Redis for limits.
type LimitsWatch struct{ *limitsWatch }

// NewLimitsWatch returns what WatchLimits uses, with another time.
func NewLimitsWatch(a *Alerts, rdb *redis.Client, long time.Duration) LimitsWatch {
	w := newLimitsWatch(a, rdb)
	w.away.long = long
	return LimitsWatch{w}
}

// Look looks once, as WatchLimits does.
func (w LimitsWatch) Look(ctx context.Context) error { return w.look(ctx) }
