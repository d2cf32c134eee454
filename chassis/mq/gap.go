package mq

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Gap is what a strictly ordered group misses of a subject: the numbers from First to Last, in front of one that waits.
type Gap struct {
	Source, Subject, Generation string
	First, Last                 int64
}

const (
	// remembered is how long ago an event may have been sent to be sent again: no group has forgotten that it had it.
	remembered = MinKeep - 24*time.Hour
	// mostGaps is how many subjects are looked at at a time.
	mostGaps = 200
	// mostMissing is how many numbers of a subject are asked for at a time.
	mostMissing = 1000
)

// Gaps returns what group misses in front of events that have waited for their turn for at least waited. db holds the group's tables.
func Gaps(ctx context.Context, db *sql.DB, group string, waited time.Duration) ([]Gap, error) {
	rows, err := db.QueryContext(ctx, `SELECT DISTINCT source, subject, generation FROM mq_inbox FORCE INDEX (due) WHERE state = 'WAITING' AND grp = ?
		AND tries = 0 AND waits > 0 AND seq > 0 AND created_at <= TIMESTAMPADD(MICROSECOND, -?, NOW(3)) LIMIT ?`,
		group, waited.Microseconds(), mostGaps)
	if err != nil {
		return nil, err
	}
	lines, err := scanLines(rows, group)
	if err != nil {
		return nil, err
	}
	var gaps []Gap
	for _, l := range lines {
		var after, front int64
		err := db.QueryRowContext(ctx, `SELECT COALESCE((SELECT seq FROM mq_position WHERE `+byLine+`), 0), COALESCE((SELECT MIN(seq) FROM mq_inbox
			FORCE INDEX (of_subject) WHERE `+byLine+` AND state IN ('WAITING', 'DEAD') AND type <> '?'), 0)`,
			append(l.args(), l.args()...)...).Scan(&after, &front)
		if err != nil {
			return nil, err
		}
		if front > after+1 {
			gaps = append(gaps, Gap{l.source, l.subject, l.generation, after + 1, min(front-1, after+mostMissing)})
		}
	}
	return gaps, nil
}

// SendNumbers makes the relay send again the events that are missing in g, up to a thousand, that the transport took
// longer than settled ago, and returns how many there are. Groups that had one do nothing the second time.
func (o *Outbox) SendNumbers(ctx context.Context, topic string, g Gap, settled time.Duration) (int64, error) {
	first, last := g.First, g.Last
	if first < 1 || last < first || last-first >= mostMissing {
		return 0, fmt.Errorf("%w: numbers from %d to %d: 1 to %d of them, the first at least 1", ErrRefused, first, last, mostMissing)
	}
	// A subject's events were appended by their numbers, in each generation; the rows of a subject are few.
	rows, err := o.db.QueryContext(ctx, `SELECT event_id, event FROM mq_outbox FORCE INDEX (by_subject) WHERE subject = ? AND topic = ? AND state = 'SENT'
		AND closed_at > TIMESTAMPADD(MICROSECOND, -?, NOW(3)) ORDER BY id`, g.Subject, topic, remembered.Microseconds())
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	var ids []string
	for rows.Next() {
		var (
			id   string
			text []byte
			e    Event
		)
		if err := rows.Scan(&id, &text); err != nil {
			return 0, err
		}
		if json.Unmarshal(text, &e) == nil && e.Source == g.Source && e.Generation == g.Generation && e.Sequence >= first && e.Sequence <= last {
			ids = append(ids, id)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || len(ids) == 0 {
		return 0, err
	}
	return o.SendAgain(ctx, ids, settled)
}
