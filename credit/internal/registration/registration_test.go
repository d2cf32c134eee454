package registration_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	accessv1 "example.com/fourfold/api/access/v1"
	creditv1 "example.com/fourfold/api/credit/v1"
	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/batch"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/ledger/ledgerlaws"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/credit/internal/account"
	"example.com/fourfold/credit/internal/mysql"
	"example.com/fourfold/credit/internal/registration"
	"example.com/fourfold/credit/internal/rpc"
	"example.com/fourfold/credit/migrations"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
)

func TestMain(m *testing.M) { rocketmqtest.Main(m) }

// registered returns a new event about a member, as the service member publishes it.
func registered(t *testing.T, memberID string) mq.Event {
	t.Helper()
	data, err := mq.Data(&eventv1.MemberRegistered{MemberId: memberID, Name: "Ann"})
	require.NoError(t, err)
	return mq.Event{ID: mq.NewID(), Source: "/member", Type: eventv1.TypeMemberRegistered, Subject: memberID, Time: time.Now(), Data: data}
}

const entries = "SELECT source, member_id, gid, points, status FROM credit_entry ORDER BY source"

// TestDelivered tests that a member gets the points once and sees what for, whatever is delivered and how often.
func TestDelivered(t *testing.T) {
	t.Parallel()
	server := rocketmqtest.Shared(t)
	broker, topic := server.Dial(t), server.Topic(t)
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	accounts := mysql.NewStore(db)
	gift, err := registration.New(accounts, 100)
	require.NoError(t, err)
	// An event, the same again, another about the same member, and one of another member.
	first := registered(t, "m-1")
	for _, e := range []mq.Event{first, first, registered(t, "m-1"), registered(t, "m-2")} {
		require.NoError(t, broker.Publish(t.Context(), topic, e))
	}
	s := registration.Subscription()
	assert.Equal(t, "credit-registration member-events [member.registered]", fmt.Sprint(s.Group, " ", s.Topic, " ", s.Types))
	s.Group, s.Topic = topic, topic
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- broker.Consume(ctx, db, s, gift.Handle) }()
	t.Cleanup(func() {
		stop()
		assert.NoError(t, <-done)
	})
	handled := func(n int) {
		t.Helper()
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			assert.Equal(c, fmt.Sprintf("%d\n--\n", n), mysqltest.Dump(t, db, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DONE'"))
		}, 2*time.Minute, 50*time.Millisecond)
	}
	handled(3)
	// It comes again when the inbox has forgotten it: the broker may keep a message for longer than its row is kept.
	_, err = db.ExecContext(t.Context(), "DELETE FROM mq_inbox")
	require.NoError(t, err)
	require.NoError(t, broker.Publish(t.Context(), topic, first))
	handled(1)
	assert.Equal(t, "registration:m-1 m-1  100 ADDED\nregistration:m-2 m-2  100 ADDED\n--\nm-1 100\nm-2 100\n--\n",
		mysqltest.Dump(t, db, entries, "SELECT member_id, credit FROM credit_account ORDER BY member_id"))
	assert.Empty(t, ledgerlaws.Broken(t, mysql.NewLedger(db), time.Minute))

	caller := identity.NewContext(t.Context(), identity.Caller{MemberID: "m-1", Role: accessv1.Shopper})
	reply, err := rpc.NewCredits(accounts).ListMyEntries(caller, &creditv1.ListMyEntriesRequest{})
	require.NoError(t, err)
	require.Len(t, reply.GetEntries(), 1)
	assert.Equal(t, "registration:m-1", reply.GetEntries()[0].GetSource())
	assert.Equal(t, int64(100), reply.GetEntries()[0].GetPoints())
	assert.Equal(t, creditv1.Entry_ADDED, reply.GetEntries()[0].GetStatus())
}

// handle calls the handler in a transaction of its own, as the inbox does.
func handle(ctx context.Context, db *sql.DB, gift *registration.Registration, e mq.Event) error {
	return database.InTx(ctx, db, func(tx *sql.Tx) error { return gift.Handle(ctx, tx, e) })
}

// TestRacesTheFirstPayment lets an event and a Try create the account at the same moment; either may be first.
func TestRacesTheFirstPayment(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	accounts := mysql.NewStore(db)
	gift, err := registration.New(accounts, 100)
	require.NoError(t, err)
	tries := batch.New(db, accounts.PrepareAdd)
	var racers sync.WaitGroup
	start := make(chan struct{})
	const members = 20
	for n := range members {
		member := fmt.Sprintf("m-%02d", n)
		event := registered(t, member)
		for range 2 {
			racers.Go(func() {
				<-start
				assert.NoError(t, handle(t.Context(), db, gift, event))
			})
		}
		racers.Go(func() {
			<-start
			assert.NoError(t, tries.Do(t.Context(), mysql.Granting{GID: "gid-" + member,
				Request: account.Entry{Source: "order-" + member, MemberID: member, Points: 7}}))
		})
	}
	close(start)
	racers.Wait()
	assert.Equal(t, "100 7 20\n--\n40\n--\n", mysqltest.Dump(t, db,
		"SELECT credit, prepare_add_credit, COUNT(*) FROM credit_account GROUP BY credit, prepare_add_credit",
		"SELECT COUNT(*) FROM credit_entry"))
	assert.Empty(t, ledgerlaws.Broken(t, mysql.NewLedger(db), time.Minute))
}

// TestFrozen tests that a frozen account accepts the points, because they are no payment.
func TestFrozen(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	accounts := mysql.NewStore(db)
	gift, err := registration.New(accounts, 100)
	require.NoError(t, err)
	_, err = accounts.SetFrozen(t.Context(), "m-1", true)
	require.NoError(t, err)
	require.NoError(t, handle(t.Context(), db, gift, registered(t, "m-1")))
	assert.Equal(t, "100 1\n--\n", mysqltest.Dump(t, db, "SELECT credit, frozen FROM credit_account"))
}

// TestNone tests that 0 gives nothing, and that an impossible number is refused.
func TestNone(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	accounts := mysql.NewStore(db)
	gift, err := registration.New(accounts, 0)
	require.NoError(t, err)
	require.NoError(t, handle(t.Context(), db, gift, registered(t, "m-1")))
	assert.Equal(t, "--\n", mysqltest.Dump(t, db, entries))
	for _, points := range []int64{-1, account.MaxPoints + 1} {
		_, err := registration.New(accounts, points)
		require.ErrorContains(t, err, "registration_points")
	}
}

// TestWhatIsNoEvent tests that an unusable event fails, so that it becomes a dead letter and is looked at.
func TestWhatIsNoEvent(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	gift, err := registration.New(mysql.NewStore(db), 100)
	require.NoError(t, err)
	nobody, strange := registered(t, ""), registered(t, "m-1")
	strange.Data = []byte(`{"member_id": 7}`)
	for _, e := range []mq.Event{nobody, strange} {
		require.Error(t, handle(t.Context(), db, gift, e))
	}
	assert.Equal(t, "--\n", mysqltest.Dump(t, db, entries))
}
