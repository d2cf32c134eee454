package failover

import (
	"context"
	"errors"
	"fmt"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/redis"
)

// ErrMoving means that the switch was moved by somebody else again and again: try once more.
var ErrMoving = errors.New("the switch is being moved")

// Force makes the mode what an operator wants, for the reason why, until it is left to the services again. Held takes effect at once; the way
// back from it, for Pinned as well, is that from an outage: the queues first. Any error is an mq.ErrUnavailable or ErrMoving.
func (t *Transport) Force(ctx context.Context, f redis.Force, by, why string) error {
	for range 10 {
		s, err := t.queues.Look(ctx)
		if err != nil {
			return err
		}
		if s.Epoch == 0 {
			return fmt.Errorf("%w: there is no switch yet", mq.ErrUnavailable)
		}
		c := redis.Change{By: by, Why: why, Force: &f}
		if f == redis.Held && s.Mode != redis.Degraded {
			c.To = redis.Degraded
			// Nobody's lease: any process probes, and leads the way back once it may.
		}
		done, err := t.queues.Change(ctx, s, c)
		if err != nil {
			return err
		}
		if done {
			t.view.refresh(ctx)
			return nil
		}
	}
	return ErrMoving
}

// Look returns the switch as it is. Any error is an mq.ErrUnavailable.
func (t *Transport) Look(ctx context.Context) (redis.State, error) { return t.queues.Look(ctx) }
