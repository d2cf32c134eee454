package mq

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
)

// BenchmarkTrace measures what the trace of messages costs when events are appended and consumed. It works on two databases with 130,000 old
// rows each in turn, one without what only the trace needs (the indexes by subject, the inbox's key by event first, half_at), and reports
// medians.
//
//	go test ./chassis/mq -run xxx -bench Trace -benchtime 10000x
func BenchmarkTrace(b *testing.B) {
	with := mysqltest.Open(b, Tables().Migrations)
	without := mysqltest.Open(b, Tables().Migrations)
	for _, stmt := range []string{
		"ALTER TABLE mq_outbox DROP KEY by_subject",
		"ALTER TABLE mq_inbox DROP KEY by_subject, DROP KEY event, ADD UNIQUE KEY event (grp, source, event_id), DROP KEY due, ADD KEY due (grp, state, next_at)",
	} {
		_, err := mysqltest.Owner(b, without).Exec(stmt)
		require.NoError(b, err)
	}
	both := []*sql.DB{with, without}
	for _, db := range both {
		fill(b, db)
	}
	b.Run("append", func(b *testing.B) {
		interleaved(b, both, func(ctx context.Context, db *sql.DB) error {
			o := &Outbox{db: db, bus: NewBus("order", nil, Config{}), nudge: make(chan struct{}, 1)}
			return database.InTx(ctx, db, func(tx *sql.Tx) error { return o.Append(ctx, tx, "order-events", sample()) })
		})
	})
	b.Run("consume", func(b *testing.B) {
		m := newMeter()
		interleaved(b, both, func(ctx context.Context, db *sql.DB) error {
			s := Subscription{Group: "notify-orders", Topic: "order-events", Order: Newest}
			if err := s.complete(0); err != nil {
				return err
			}
			in := &inbox{db: db, s: s, meter: m, handle: func(context.Context, *sql.Tx, Event) error { return nil }}
			_, err := in.deliver(ctx, Delivery{Event: sample()})
			return err
		})
	})
}

func sample() Event {
	return Event{ID: NewID(), Source: "/order", Type: "order.paid", Subject: "o-" + NewID()[20:], Sequence: 1,
		Data: []byte(`{"order_id":"1","status":"PAID"}`)}
}

// interleaved runs op on both databases in turn and reports the medians.
func interleaved(b *testing.B, both []*sql.DB, op func(context.Context, *sql.DB) error) {
	took := [2][]time.Duration{}
	for n := 0; b.Loop(); n++ {
		for i := range both {
			i = (i + n) % 2
			start := time.Now()
			if err := op(b.Context(), both[i]); err != nil {
				b.Fatal(err)
			}
			took[i] = append(took[i], time.Since(start))
		}
	}
	median := func(d []time.Duration) float64 { slices.Sort(d); return float64(d[len(d)/2].Microseconds()) }
	with, without := median(took[0]), median(took[1])
	b.ReportMetric(with, "µs/with")
	b.ReportMetric(without, "µs/without")
	b.ReportMetric(100*(with/without-1), "%more")
}

// fill inserts old rows.
func fill(b *testing.B, db *sql.DB) {
	for _, stmt := range []string{
		`INSERT INTO mq_outbox (event_id, topic, subject, event, state, closed_at) VALUES (UUID(), 'order-events', UUID(), REPEAT('x', 300), 'SENT', NOW(3))`,
		`INSERT INTO mq_inbox (grp, source, event_id, topic, type, subject, seq, state, closed_at)
			VALUES ('notify-orders', '/order', UUID(), 'order-events', 'order.paid', UUID(), 1, 'DONE', NOW(3))`,
	} {
		_, err := db.ExecContext(b.Context(), stmt)
		require.NoError(b, err)
	}
	for n := range 17 {
		for _, stmt := range []string{
			`INSERT INTO mq_outbox (event_id, topic, subject, event, state, closed_at)
				SELECT UUID(), topic, UUID(), event, state, closed_at FROM mq_outbox LIMIT %d`,
			`INSERT INTO mq_inbox (grp, source, event_id, topic, type, subject, seq, state, closed_at)
				SELECT grp, source, UUID(), topic, type, UUID(), seq, state, closed_at FROM mq_inbox LIMIT %d`,
		} {
			_, err := db.ExecContext(b.Context(), fmt.Sprintf(stmt, 1<<n))
			require.NoError(b, err)
		}
	}
}
