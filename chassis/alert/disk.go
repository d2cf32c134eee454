package alert

import (
	"context"
	"fmt"
	"time"

	"example.com/fourfold/chassis/loop"
	"example.com/fourfold/chassis/mq"
)

const (
	// diskEvery is seldom because a broker takes a tenth of a second of processor time to answer.
	diskEvery  = 30 * time.Second
	brokerDisk = "broker-disk"
	// diskSlack is how much less than tight is used when the alert is over, so that a disk that moves around the mark is told once.
	diskSlack = 0.02
)

// WatchDisk returns background work that raises broker-disk while at least the part tight of d's disk is used, and clears it when it is clearly
// less. Beyond full, d takes no event, so tight is below: the alert itself goes through d. Any number of processes of one service may run it.
func (a *Alerts) WatchDisk(d mq.Disk, tight, full float64) func(context.Context) error {
	return loop.Every(diskEvery, time.Minute, "look at the broker's disk", func(ctx context.Context) error { return a.lookAtDisk(ctx, d, tight, full) })
}

func (a *Alerts) lookAtDisk(ctx context.Context, d mq.Disk, tight, full float64) error {
	used, err := d.DiskUsed(ctx)
	switch {
	case err != nil:
		return err
	case used < tight-diskSlack:
		return a.Clear(ctx, brokerDisk)
	case used < tight:
		return nil
	}
	summary := fmt.Sprintf("the message broker's disk is %.0f %% full; beyond %.0f %% it takes nothing", 100*used, 100*full)
	return a.Raise(ctx, brokerDisk, summary, fmt.Sprintf(`The disk with the message broker's store is %.0f %% full.
Beyond %.0f %% the broker takes no event until there is room. Nothing is lost then: orders, payments and sign-ups go on, and what follows
them by message (points, SMS, e-mail, and alerts such as this one) waits in the outboxes and comes when there is room.
Make room on that disk, or enlarge it. Leave the broker's own files alone: it deletes them when they are old enough (fileReservedTime in
broker.conf), and before that somebody may still have to read them.
How full it is:     mq_broker_disk_ratio at /metrics of %s
Whether events wait: mq_outbox_rows{state="READY"} at /metrics of each service
`, 100*used, 100*full, a.service))
}
