package audit

import (
	"context"
	"fmt"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
)

// report is how a turn ended.
type report struct {
	turn
	events int64
	// missing is how many events are not here, complete whether none is of those sent lately, and reviewed whether none is of the turn's part of
	// all that is kept.
	missing            int
	complete, reviewed bool
}

// why says to an operator why a comparison failed, without addresses and SQL: those are in the log.
func why(err error) string {
	if err == nil {
		return ""
	}
	if e := kerrors.FromError(err); e.Reason != "" {
		return e.Reason + ": " + e.Message
	}
	return "the publisher or the database did not answer"
}

// noting bounds the writing of a report, also when the time of the comparison is over.
const noting = 5 * time.Second

// note records how the turn ended, and tells operators of what is missing until nothing is, and of a comparison that cannot be made.
func (l ledger) note(ctx context.Context, r report, failed error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noting)
	defer cancel()
	reason := why(failed)
	_, err := l.db.ExecContext(ctx, `UPDATE mq_audit SET complete_at = IF(?, ?, complete_at), reviewed_to = IF(?, ?, reviewed_to),
		events = IF(?, ?, events), last_error = LEFT(?, 500) WHERE grp = ? AND publisher = ?`,
		r.complete, r.now, r.reviewed, r.to, r.complete, r.events, reason, l.of.Group, l.publisher)
	if err != nil {
		return err
	}
	key := "messages-lost/" + l.of.Group + "/" + l.publisher
	switch {
	case r.missing > 0:
		return l.alerts.Raise(ctx, key, fmt.Sprintf("%d event(s) of %s have not come to group %s and are sent again", r.missing, l.publisher, l.of.Group),
			fmt.Sprintf(`%[2]s sent %[1]d event(s) to topic %[4]s more than %[5]s ago, and group %[3]s has not received them. They are being sent again by
themselves and have their effect once. The broker, or the group's place in it, has lost messages: find out why.
How much and since when:  GET  /v1/ops/audits
`, r.missing, l.publisher, l.of.Group, l.of.Topic, l.times.After))
	case r.complete:
		return l.alerts.Clear(ctx, key)
	case r.now.Sub(r.recent) > stale+overlap+l.times.After:
		return l.alerts.Raise(ctx, key, fmt.Sprintf("what %s sent cannot be compared with what group %s received: %s", l.publisher, l.of.Group, reason),
			fmt.Sprintf(`Since %[3]s nobody knows whether all that %[1]s sent has come to group %[2]s. Nothing is lost because of that, but what the broker
loses meanwhile is not sent again by itself. The last comparison failed:
  %[4]s
When the last one was made:  GET  /v1/ops/audits
`, l.publisher, l.of.Group, r.recent.Add(overlap+l.times.After).Format(time.RFC3339), reason))
	}
	return nil
}
