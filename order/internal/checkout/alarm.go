package checkout

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
)

// alerts is the prefix of an alert's key; the gid follows.
const alerts = "payment/"

// alarm raises an alert for an attempt that does not settle: once, and again at growing pauses.
func (s *Sweeper) alarm(ctx context.Context, a mysql.Overdue, what string) error {
	err := s.alerts.Raise(ctx, alerts+a.GID,
		fmt.Sprintf("The %s of order %s does not settle: %s", strings.ToLower(string(a.Kind)), a.OrderID, what),
		fmt.Sprintf(`Global transaction %[1]s (%[2]s) of order %[3]s is open since %[4]v. The order stays as it is until it settles, and settles by itself
as soon as it can. What keeps it is in the logs of order, inventory, credit, wms and the coordinator: search them for %[1]s.
Whether the books add up:          GET /v1/ops/conservation
What the coordinator knows of it:  GET /api/dtmsvr/query?gid=%[1]s, on the coordinator's own port
Who does what about it:            docs/payment.md, "Who looks after what stays open"
`, a.GID, a.Kind, a.OrderID, a.Age))
	if err != nil {
		return fmt.Errorf("nobody could be called: %w", err)
	}
	return nil
}

// calm clears the alerts of attempts that have settled.
func (s *Sweeper) calm(ctx context.Context) error {
	keys, err := s.alerts.Lasting(ctx, alerts)
	if err != nil {
		return err
	}
	for _, key := range keys {
		attempt, err := s.store.Attempt(ctx, order.Payment, strings.TrimPrefix(key, alerts))
		switch {
		case errors.Is(err, order.ErrNotFound):
		case err != nil:
			return err
		case attempt.Open:
			continue
		}
		if err := s.alerts.Clear(ctx, key); err != nil {
			return err
		}
	}
	return nil
}
