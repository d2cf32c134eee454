package checkout

import (
	"context"
	"fmt"
	"strings"

	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/participant"
)

// alerts is the prefix of an alert's key; the gid follows.
const alerts = "payment/"

// problem is what operators are told of an attempt.
type problem struct{ summary, detail string }

// alarm raises the alert of an attempt that does not settle: once, and again at growing pauses.
func (s *Sweeper) alarm(ctx context.Context, a mysql.Overdue, p problem) error {
	if err := s.alerts.Raise(ctx, alerts+a.GID, p.summary, p.detail); err != nil {
		return fmt.Errorf("nobody could be called: %w", err)
	}
	return nil
}

// lasts says that a is open for longer than it should be, and why nobody need decide anything yet.
func lasts(a mysql.Overdue) problem {
	return problem{fmt.Sprintf("The %s of order %s does not settle: it is open since %v", strings.ToLower(string(a.Kind)), a.OrderID, a.Age),
		fmt.Sprintf(`Global transaction %[1]s (%[2]s) of order %[3]s is open since %[4]v. The order stays as it is until then, and the transaction settles by
itself as soon as all that it needs are there: %[5]s. What keeps it is in their logs: search them
for %[1]s. If one of them has lost what it tried, there is an alert branch-not-tried too: then a person must act.
How far it has come in each:  make settle ORDER=%[3]s
`, a.GID, a.Kind, a.OrderID, a.Age, needed())}
}

// needed returns whom a transaction needs, for people.
func needed() string {
	names := []string{"order"}
	for _, p := range participant.All() {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ") + " and the coordinator"
}

// undecided says that the coordinator will never settle a, so that a person must decide.
func undecided(a mysql.Overdue, status tcc.Status, held bool) problem {
	return problem{fmt.Sprintf("The %s of order %s needs a decision: the coordinator is through with it (%s), and the attempt is open",
		strings.ToLower(string(a.Kind)), a.OrderID, status),
		fmt.Sprintf(`Global transaction %[1]s (%[2]s) of order %[3]s is open since %[4]v. The coordinator says %[5]s, and will call no service about it any
more: its log was lost, or the books are wrong. Nothing happens until a person decides. The order is held: %[6]t.
How far it has come in each service, and what can be decided:  make settle ORDER=%[3]s
Carry the decision out in all of them:                         make settle ORDER=%[3]s AS=confirm, or AS=cancel
`, a.GID, a.Kind, a.OrderID, a.Age, status, held)}
}

// calm clears the alerts of attempts that have settled.
func (s *Sweeper) calm(ctx context.Context) error {
	return s.alerts.ClearUnless(ctx, alerts, mysql.AttemptIsOpen)
}
