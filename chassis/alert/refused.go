package alert

import (
	"context"
	"fmt"
)

const refused = "outbox-refused"

// lookAtRefused raises an alert while the broker refuses events of this service for good: each holds up the later ones of its subject.
func (a *Alerts) lookAtRefused(ctx context.Context) error {
	var (
		count, oldest       int64
		topic, subject, why string
	)
	err := a.db.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(MIN(id), 0) FROM mq_outbox WHERE state IN ('READY', 'HALF')
		AND refused_at IS NOT NULL`).Scan(&count, &oldest)
	switch {
	case err != nil:
		return err
	case count == 0:
		return a.Clear(ctx, refused)
	}
	// The row may have been sent or discarded meanwhile; it is told nevertheless, and cleared at the next look.
	err = a.db.QueryRowContext(ctx, "SELECT topic, subject, last_error FROM mq_outbox WHERE id = ?", oldest).Scan(&topic, &subject, &why)
	if err != nil {
		return err
	}
	return a.Raise(ctx, refused, fmt.Sprintf("%d event(s) of %s are refused by the broker: %s", count, a.service, firstLine(why)),
		fmt.Sprintf(`The broker refuses %[1]d event(s) in the outbox of service %[2]s for good. Each holds up the later events of its subject.
The oldest is %[2]s-%[3]d, to topic %[4]s about %[5]q:
  %[6]s
Look at them:            GET  /v1/ops/refused
When the cause is gone (the broker's bound for a message, for example) they are sent by themselves, within 75 s.
Do without sending it:   POST /v1/ops/refused/%[2]s-%[3]d/discard
`, count, a.service, oldest, topic, subject, why))
}
