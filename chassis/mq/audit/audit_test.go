package audit_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/audit"
	"example.com/fourfold/chassis/mq/mqlaws"
)

// TestLost: what the broker took and lost is sent again by itself, of each publisher to each group that wants it, and only that. It has its
// effect once, is counted, and operators are told until nothing is missing.
func TestLost(t *testing.T) {
	t.Parallel()
	s := newShop(t, "one", "two")
	s.consume(t, mq.Subscription{Group: "all"})
	s.consume(t, mq.Subscription{Group: "some", Types: []string{"a"}})
	s.consume(t, mq.Subscription{Group: "filtered", Filter: "region = 'x'"})
	send := func(n int) {
		for i := range n {
			for _, publisher := range []string{"one", "two"} {
				s.publish(t, publisher, event(fmt.Sprint("x", i), "a"), event(fmt.Sprint("y", i), "b"))
			}
		}
		s.settled(t, "one")
		s.settled(t, "two")
	}
	send(10)
	mqlaws.AwaitCount(t, s.db, 40+20+20, "SELECT COUNT(*) FROM effect")
	s.audit(t)
	s.complete(t)
	assert.Zero(t, s.resent(t))
	s.broker.loses.Store(true)
	send(3)
	s.broker.loses.Store(false)
	mqlaws.AwaitCount(t, s.db, 52+26+26, "SELECT COUNT(*) FROM effect")
	s.complete(t)
	all, err := audit.Results(t.Context(), s.db)
	require.NoError(t, err)
	again := map[string]int64{}
	for _, r := range all {
		again[r.Publisher] += r.Resent
	}
	assert.Equal(t, map[string]int64{"one": 6, "two": 6}, again, "whichever group asks first, an event is sent again once")
	assert.Equal(t, "0\n--\n", mysqltest.Dump(t, s.db, "SELECT COUNT(*) FROM effect GROUP BY grp, event_id HAVING COUNT(*) > 1 UNION SELECT 0"))
	s.alerts.mu.Lock()
	defer s.alerts.mu.Unlock()
	assert.Contains(t, strings.Join(s.alerts.ever, "\n"), "event(s) of one have not come to group all and are sent again")
	assert.Empty(t, s.alerts.last, "all has come")
}

// TestNothingLost: while all arrives, under traffic, nothing is sent again and nobody is told. An event that the outbox holds but has not sent,
// or that is due later, is not missing.
func TestNothingLost(t *testing.T) {
	t.Parallel()
	s := newShop(t, "one")
	s.consume(t, mq.Subscription{Group: "all"})
	s.audit(t)
	for i := range 100 {
		s.publish(t, "one", event(fmt.Sprint("x", i), "a"))
		time.Sleep(20 * time.Millisecond) // traffic over several comparisons
	}
	s.publish(t, "one", event("later", "a"))
	_, err := s.publishers["one"].ExecContext(t.Context(), `UPDATE mq_outbox SET state = 'SENT', deliver_at = NOW(3) + INTERVAL 1 HOUR,
		closed_at = NOW(3) - INTERVAL 1 HOUR WHERE subject = 'later'`)
	require.NoError(t, err)
	s.complete(t)
	assert.Zero(t, s.resent(t))
	assert.Empty(t, s.alerts.ever)
}

// TestBrokerAwayIsNoLoss: while the broker takes nothing, nothing is sent again: what is missing may lie there.
func TestBrokerAwayIsNoLoss(t *testing.T) {
	t.Parallel()
	s := newShop(t, "one")
	s.consume(t, mq.Subscription{Group: "all"})
	stop := s.audit(t)
	s.complete(t)
	stop()
	s.broker.loses.Store(true)
	s.publish(t, "one", event("x", "a"))
	s.settled(t, "one")
	s.stopRelay["one"]() // as if each of its sends took long
	s.publish(t, "one", event("y", "a"))
	_, err := s.publishers["one"].ExecContext(t.Context(), "UPDATE mq_outbox SET next_at = NOW(3) - INTERVAL 1 MINUTE WHERE subject = 'y'")
	require.NoError(t, err)
	s.audit(t)
	require.Eventually(t, func() bool {
		all, err := audit.Results(t.Context(), s.db)
		return err == nil && len(all) == 1 && (all[0].LastError != "" || all[0].Resent > 0)
	}, 20*time.Second, 50*time.Millisecond)
	assert.Zero(t, s.resent(t))
	s.broker.loses.Store(false)
	background(t, s.outboxes["one"].Relay)
	mqlaws.AwaitCount(t, s.db, 2, "SELECT COUNT(*) FROM effect")
	s.complete(t)
	assert.EqualValues(t, 1, s.resent(t))
}

// TestBacklogIsNoLoss: a group that works off what has waited for it is not compared before it is through.
func TestBacklogIsNoLoss(t *testing.T) {
	t.Parallel()
	s := newShop(t, "one")
	stop, stopAudit := s.consume(t, mq.Subscription{Group: "slow"}), s.audit(t)
	s.complete(t)
	stopAudit()
	stop() // what comes from now on waits for the group
	for i := range 40 {
		s.publish(t, "one", event(fmt.Sprint("x", i), "a"))
	}
	s.settled(t, "one")
	_, err := s.publishers["one"].ExecContext(t.Context(), "UPDATE mq_outbox SET closed_at = NOW(3) - INTERVAL 1 MINUTE")
	require.NoError(t, err)
	time.Sleep(s.times.After) // the events are older than that
	background(t, func(ctx context.Context) error {
		sub := mq.Subscription{Group: "slow", Topic: topic, Workers: 1}
		return s.bus.Consume(ctx, s.db, sub, func(ctx context.Context, tx *sql.Tx, e mq.Event) error {
			time.Sleep(100 * time.Millisecond)
			return mqlaws.Effect("slow")(ctx, tx, e)
		})
	})
	s.audit(t)
	s.complete(t)
	mqlaws.AwaitCount(t, s.db, 40, "SELECT COUNT(*) FROM effect")
	assert.Zero(t, s.resent(t))
	assert.Equal(t, "0\n--\n", mysqltest.Dump(t, s.publishers["one"], "SELECT COUNT(*) FROM mq_outbox WHERE tries > 1"))
}

// TestFollowerRestored: a group whose database was put back to an older state gets what it had since then once more, though that had been found
// complete, and is older than what is compared each time.
func TestFollowerRestored(t *testing.T) {
	t.Parallel()
	s := newShop(t, "one")
	s.consume(t, mq.Subscription{Group: "all"})
	for i := range 10 {
		e := event(fmt.Sprint("x", i), "a")
		e.ID = madeAt(time.Now().Add(-2 * time.Hour))
		s.publish(t, "one", e)
	}
	mqlaws.AwaitCount(t, s.db, 10, "SELECT COUNT(*) FROM effect")
	s.audit(t)
	s.complete(t)
	_, err := s.db.ExecContext(t.Context(), "UPDATE mq_audit SET wanted_at = NOW(3) - INTERVAL 1 DAY")
	require.NoError(t, err)
	s.complete(t)
	assert.Equal(t, "0\n--\n", mysqltest.Dump(t, s.db, "SELECT events FROM mq_audit"), "what is older is not compared each time")
	for _, stmt := range []string{"DELETE FROM effect WHERE subject > 'x4'", "DELETE FROM mq_inbox WHERE subject > 'x4'"} {
		_, err := s.db.ExecContext(t.Context(), stmt)
		require.NoError(t, err)
	}
	mqlaws.AwaitCount(t, s.db, 10, "SELECT COUNT(*) FROM effect")
	assert.EqualValues(t, 5, s.resent(t))
}
