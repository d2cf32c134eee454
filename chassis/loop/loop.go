// Package loop runs periodic background work.
package loop

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Every returns background work for service.Go that calls do at once and then after each pause, until ctx ends. Each call is canceled after
// patience, so that a silent server holds up only one. An error is logged with name and ends nothing. Pauses are up to a tenth longer, at
// random, so that instances drift apart.
func Every(pause, patience time.Duration, name string, do func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for {
			bounded, cancel := context.WithTimeout(ctx, patience)
			err := do(bounded)
			cancel()
			if err != nil && ctx.Err() == nil {
				slog.WarnContext(ctx, name, "err", err)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause + rand.N(pause/10+1)):
			}
		}
	}
}
