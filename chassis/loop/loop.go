// Package loop runs background work again and again.
package loop

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Every returns background work for service.Go: it calls do at once and then after each pause, until ctx ends. A call is canceled
// after patience, so that a server that fell silent holds up one call only. An error is logged with name and ends nothing. Pauses
// vary by a tenth, so that instances drift apart.
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
