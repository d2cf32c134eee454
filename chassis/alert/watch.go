package alert

import (
	"context"
	"time"

	"example.com/fourfold/chassis/loop"
)

const watchEvery = 5 * time.Second

// Watch is background work of a service that publishes or consumes: until ctx ends it raises dead-letters/<group> while a group has dead
// letters, and outbox-refused while the broker refuses events for good; it clears them when there are none left. Any number of processes may run
// it.
func (a *Alerts) Watch(ctx context.Context) error {
	return loop.Every(watchEvery, time.Minute, "look for dead letters and refused events", a.look)(ctx)
}

func (a *Alerts) look(ctx context.Context) error {
	if err := a.lookAtDeadLetters(ctx); err != nil {
		return err
	}
	return a.lookAtRefused(ctx)
}
