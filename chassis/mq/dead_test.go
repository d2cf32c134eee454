package mq_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/mysql/mysqltest"
)

// TestDeadLetters: they can be listed, read with reason and history, redriven one by one or all, and discarded; what waited behind one in
// its subject follows.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	s := newStage(t, mqtest.Shared(t))
	b := s.dial(t)
	var broken atomic.Bool
	broken.Store(true)
	sub := group(s.topic)
	sub.Tries, sub.FirstPause, sub.LongestPause = 3, 10*time.Millisecond, 20*time.Millisecond
	background(t, func(ctx context.Context) error {
		return b.Consume(ctx, s.db, sub, func(ctx context.Context, tx *sql.Tx, e mq.Event) error {
			if e.Sequence == 1 && broken.Load() {
				return errors.New("no such member")
			}
			return mqlaws.Effect("a")(ctx, tx, e)
		})
	})
	for _, subject := range []string{"a", "b", "c", "d"} {
		require.NoError(t, b.Publish(t.Context(), s.topic, mqlaws.New(subject, 1)))
		require.NoError(t, b.Publish(t.Context(), s.topic, mqlaws.New(subject, 2)))
	}
	mqlaws.AwaitCount(t, s.db, 4, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DEAD'")
	assert.Equal(t, "0\n--\n", mysqltest.Dump(t, s.db, "SELECT COUNT(*) FROM effect"))

	dead := mq.NewDeadLetters(s.db)
	letters, err := dead.List(t.Context(), sub.Group, 0, 3)
	require.NoError(t, err)
	require.Len(t, letters, 3)
	more, err := dead.List(t.Context(), "", letters[2].ID, 3)
	require.NoError(t, err)
	require.Len(t, more, 1)
	none, err := dead.List(t.Context(), "another", 0, 3)
	require.NoError(t, err)
	require.Empty(t, none)
	letter, err := dead.Read(t.Context(), letters[0].ID)
	require.NoError(t, err)
	assert.Equal(t, "no such member", letter.Reason)
	assert.Equal(t, 3, letter.Tries)
	assert.Equal(t, 3, strings.Count(letter.History, "no such member"))
	assert.Contains(t, string(letter.Event), `"subject":"`+letter.Subject+`"`)

	require.NoError(t, dead.Discard(t.Context(), letters[1].ID))
	mqlaws.AwaitCount(t, s.db, 1, "SELECT COUNT(*) FROM effect WHERE seq = 2")
	broken.Store(false)
	require.NoError(t, dead.Redrive(t.Context(), letters[0].ID))
	mqlaws.AwaitCount(t, s.db, 3, "SELECT COUNT(*) FROM effect")
	require.ErrorIs(t, dead.Redrive(t.Context(), letters[0].ID), mq.ErrNoDeadLetter)
	_, err = dead.Read(t.Context(), letters[0].ID)
	require.ErrorIs(t, err, mq.ErrNoDeadLetter)
	n, err := dead.RedriveAll(t.Context(), sub.Group)
	require.NoError(t, err)
	assert.EqualValues(t, 2, n)
	mqlaws.AwaitCount(t, s.db, 7, "SELECT COUNT(*) FROM effect")
	mqlaws.Settled(t, s.db)
}

// TestPoison: what a handler calls poison is a dead letter after one try; for others the broker's Config says how many there are.
func TestPoison(t *testing.T) {
	t.Parallel()
	s := newStage(t, mqtest.Shared(t))
	b, err := mq.Dial(mq.Config{NameServers: s.NameServer, Service: s.service, Tries: 2})
	require.NoError(t, err)
	t.Cleanup(b.Close)
	sub := group(s.topic)
	sub.Tries, sub.FirstPause = 0, 10*time.Millisecond
	background(t, func(ctx context.Context) error {
		return b.Consume(ctx, s.db, sub, func(_ context.Context, _ *sql.Tx, e mq.Event) error {
			if e.Subject == "poison" {
				return fmt.Errorf("no member: %w", mq.ErrPoison)
			}
			return errors.New("away")
		})
	})
	for _, subject := range []string{"poison", "other"} {
		require.NoError(t, b.Publish(t.Context(), s.topic, mqlaws.New(subject, 1)))
	}
	mqlaws.AwaitCount(t, s.db, 2, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DEAD'")
	assert.Equal(t, "other 2\npoison 1\n--\n", mysqltest.Dump(t, s.db, "SELECT subject, tries FROM mq_inbox ORDER BY subject"))
}
