package sender

import (
	"context"
	"fmt"
	"strings"

	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/loop"
	"example.com/fourfold/notify/internal/mysql"
	"example.com/fourfold/notify/internal/notification"
)

const smsBudget = "sms-budget"

// WatchBudget returns background work that raises the alert sms-budget while four fifths of today's SMS are spent, of all or of a country's, and
// clears it on the next day. Any number of processes may run it.
func WatchBudget(store *mysql.Store, alerts *alert.Alerts, b notification.Budget) func(context.Context) error {
	return loop.Every(watchEvery, watchEvery, "look at the budget of SMS", func(ctx context.Context) error {
		return lookAtBudget(ctx, store, alerts, b)
	})
}

func lookAtBudget(ctx context.Context, store *mysql.Store, alerts *alert.Alerts, b notification.Budget) error {
	list, err := store.SpentToday(ctx)
	if err != nil {
		return err
	}
	var said strings.Builder
	for _, s := range list {
		budget, who := b.PerDay, "all numbers"
		if s.Country != "" {
			budget, who = b.Of(s.Country), "numbers of +"+s.Country
		}
		if budget > 0 && 5*s.Spent >= 4*budget {
			fmt.Fprintf(&said, "%s: %d of %d SMS are spent today, %d were dropped\n", who, s.Spent, budget, s.Dropped)
		}
	}
	if said.Len() == 0 {
		return alerts.Clear(ctx, smsBudget)
	}
	first, _, _ := strings.Cut(said.String(), "\n")
	return alerts.Raise(ctx, smsBudget, "SMS to "+first, said.String()+`The day ends at 00:00 UTC. Sign-ups go on; their SMS are dropped when the budget is spent:
  GET /v1/ops/notifications?state=DROPPED
`)
}
