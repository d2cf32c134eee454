package alert

import (
	"context"
	"time"

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
	w.long, w.settle = long, settle
	return ModeWatch{w}
}

// Look looks once, as WatchMode does.
func (w ModeWatch) Look(ctx context.Context) error { return w.look(ctx) }
