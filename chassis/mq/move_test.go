package mq_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
)

// TestMovePosition: a position that somebody moved too far, so that real events were dropped as old, is shown and can be moved back. What was
// dropped has its effect when it is sent again. A position is not moved before an effect, nor over an event that is here.
func TestMovePosition(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	sub := group(s.topic)
	background(t, func(ctx context.Context) error { return s.bus.Consume(ctx, s.db, sub, mqlaws.Effect("a")) })
	publish := func(events ...mq.Event) {
		for _, e := range events {
			require.NoError(t, s.bus.Publish(t.Context(), s.topic, e))
		}
	}
	second, third := mqlaws.New("a", 2), mqlaws.New("a", 3)
	publish(mqlaws.New("a", 1))
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM effect")
	_, err := s.db.ExecContext(t.Context(), "UPDATE mq_position SET seq = 1000000")
	require.NoError(t, err)
	publish(second, third)
	mqlaws.AwaitCount(t, s.db, 2, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'OLD'")

	positions, err := mq.Positions(t.Context(), s.db, "a", "")
	require.NoError(t, err)
	require.Len(t, positions, 1)
	at := positions[0]
	assert.Equal(t, []any{sub.Group, "/laws", "a", "", int64(1_000_000), int64(0)},
		[]any{at.Group, at.Source, at.Subject, at.Generation, at.Sequence, at.Waiting})
	_, err = mq.MovePosition(t.Context(), s.db, at, 0)
	require.ErrorIs(t, err, mq.ErrHadEffect, "number 1 had its effect")
	forgotten, err := mq.MovePosition(t.Context(), s.db, at, 1)
	require.NoError(t, err)
	assert.EqualValues(t, 2, forgotten)
	publish(third, second) // sent again
	mqlaws.AwaitCount(t, s.db, 3, "SELECT COUNT(*) FROM effect")
	mqlaws.Settled(t, s.db)

	publish(mqlaws.New("a", 6))
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'WAITING'")
	_, err = s.db.ExecContext(t.Context(), "UPDATE mq_inbox SET created_at = created_at - INTERVAL 2 HOUR, next_at = NOW(3) WHERE seq = 6")
	require.NoError(t, err)
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DEAD'")
	positions, err = mq.Positions(t.Context(), s.db, "a", sub.Group)
	require.NoError(t, err)
	assert.Equal(t, []int64{3, 6}, []int64{positions[0].Sequence, positions[0].Waiting})
	var front *mq.InFront
	_, err = mq.MovePosition(t.Context(), s.db, at, 6)
	require.ErrorAs(t, err, &front)
	_, err = mq.MovePosition(t.Context(), s.db, at, 5) // numbers 4 and 5 were never published
	require.NoError(t, err)
	assert.Equal(t, "0\n--\n", mysqltest.Dump(t, s.db, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DEAD'"), "number 6 goes on by itself")
	mqlaws.AwaitCount(t, s.db, 4, "SELECT COUNT(*) FROM effect")
	at.Subject = "b"
	_, err = mq.MovePosition(t.Context(), s.db, at, 5)
	require.ErrorIs(t, err, mq.ErrNoPosition)
}
