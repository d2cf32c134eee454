package mq_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
)

// TestLeap: a number far ahead of all others, forged or broken, is a dead letter at once in an ordered group. It neither hides the real events
// that come after it nor can a person make it do so.
func TestLeap(t *testing.T) {
	t.Parallel()
	for name, order := range map[string]mq.Order{"strict": mq.Strict, "newest": mq.Newest, "unordered": mq.Unordered} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			sub := group(s.topic)
			sub.Order = order
			background(t, func(ctx context.Context) error { return s.bus.Consume(ctx, s.db, sub, mqlaws.Effect("a")) })
			for _, n := range []int64{1, 3_000_000, 1 << 62, 2} {
				require.NoError(t, s.bus.Publish(t.Context(), s.topic, mqlaws.New("a", n)))
			}
			if order == mq.Unordered {
				mqlaws.AwaitCount(t, s.db, 4, "SELECT COUNT(*) FROM effect")
				return
			}
			mqlaws.AwaitCount(t, s.db, 2, "SELECT COUNT(*) FROM effect")
			dead := mq.NewDeadLetters(s.db, s.bus.Order)
			letters, err := dead.List(t.Context(), "", 0, 10)
			require.NoError(t, err)
			require.Len(t, letters, 2)
			for _, l := range letters {
				assert.Contains(t, l.Reason, "leaps")
				require.NoError(t, dead.Redrive(t.Context(), l.ID))
			}
			mqlaws.AwaitCount(t, s.db, 2, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DEAD'")
			_, err = dead.RedriveAll(t.Context(), sub.Group)
			require.NoError(t, err)
			mqlaws.AwaitCount(t, s.db, 2, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DEAD'")
			for _, l := range letters {
				require.NoError(t, dead.Discard(t.Context(), l.ID))
			}
			require.NoError(t, s.bus.Publish(t.Context(), s.topic, mqlaws.New("a", 3)))
			mqlaws.AwaitCount(t, s.db, 3, "SELECT COUNT(*) FROM effect")
			assert.Equal(t, "1\n2\n3\n--\n", mysqltest.Dump(t, s.db, "SELECT seq FROM effect ORDER BY id"))
		})
	}
}

// TestNumberUsedAgain: a publisher whose database was restored from a backup without a new generation numbers its events as it did before. They
// are dead letters, not dropped in silence.
func TestNumberUsedAgain(t *testing.T) {
	t.Parallel()
	for _, order := range []mq.Order{mq.Strict, mq.Newest} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			sub := group(s.topic)
			sub.Order = order
			background(t, func(ctx context.Context) error { return s.bus.Consume(ctx, s.db, sub, mqlaws.Effect("a")) })
			late := mqlaws.New("a", 2)
			for _, e := range []mq.Event{mqlaws.New("a", 1), mqlaws.New("a", 2), mqlaws.New("a", 3)} {
				require.NoError(t, s.bus.Publish(t.Context(), s.topic, e))
			}
			mqlaws.AwaitCount(t, s.db, 3, "SELECT COUNT(*) FROM effect")
			_, err := s.db.ExecContext(t.Context(), "UPDATE mq_position SET updated_at = NOW(3) - INTERVAL 2 MINUTE")
			require.NoError(t, err)
			late.Time = time.Now().Add(-10 * time.Minute)
			again := mqlaws.New("a", 3)
			for _, e := range []mq.Event{late, again} {
				require.NoError(t, s.bus.Publish(t.Context(), s.topic, e))
			}
			mqlaws.AwaitCount(t, s.db, 5, "SELECT COUNT(*) FROM mq_inbox")
			assert.Equal(t, "OLD\n--\nDEAD\n--\n", mysqltest.Dump(t, s.db, "SELECT state FROM mq_inbox WHERE event_id = '"+late.ID+"'",
				"SELECT state FROM mq_inbox WHERE event_id = '"+again.ID+"'"))
		})
	}
}
