package events_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	alertv1 "example.com/fourfold/api/alert/v1"
	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
	"example.com/fourfold/notify/internal/events"
	"example.com/fourfold/notify/internal/mysql"
	"example.com/fourfold/notify/internal/notification"
	"example.com/fourfold/notify/migrations"
)

func TestMain(m *testing.M) { rocketmqtest.Main(m) }

// stage has the handlers over a database of the test's own.
type stage struct {
	db        *sql.DB
	consumers map[string]events.Consumer
}

func newStage(t *testing.T, budget ...notification.Budget) stage {
	t.Helper()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	s := stage{db, map[string]events.Consumer{}}
	var limit *notification.Budget
	if len(budget) > 0 {
		limit = &budget[0]
	}
	for _, c := range events.New(mysql.NewStore(db), []string{"op-1@example.com", "op-2@example.com"}, 24*time.Hour, limit).Consumers() {
		s.consumers[c.Group] = c
	}
	return s
}

// take calls a group's handler in a transaction of its own, as the inbox does.
func (s stage) take(t *testing.T, group string, e mq.Event) error {
	t.Helper()
	return database.InTx(t.Context(), s.db, func(tx *sql.Tx) error { return s.consumers[group].Handle(t.Context(), tx, e) })
}

// consume runs a group on a topic of the test's own, twice, as two processes would.
func (s stage) consume(t *testing.T, server *rocketmqtest.Server, group, topic string) {
	t.Helper()
	c := s.consumers[group]
	c.Group, c.Topic, c.FirstPause, c.Poll = group+"-"+topic, topic, 50*time.Millisecond, 50*time.Millisecond
	for range 2 {
		broker := server.Dial(t)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- broker.Consume(ctx, s.db, c.Subscription, c.Handle) }()
		t.Cleanup(func() {
			stop()
			assert.NoError(t, <-done)
		})
	}
}

// await waits until so many rows of the inbox are closed.
func (s stage) await(t *testing.T, n int) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Equal(c, fmt.Sprintf("%d\n--\n", n), mysqltest.Dump(t, s.db, "SELECT COUNT(*) FROM mq_inbox WHERE state IN ('DONE', 'OLD')"))
	}, 2*time.Minute, 50*time.Millisecond)
}

func (s stage) told(t *testing.T) string {
	t.Helper()
	return mysqltest.Dump(t, s.db, `SELECT event_type, channel, recipient, SUBSTRING_INDEX(subject, ' / ', -1), state, closed_at IS NULL
		FROM notification ORDER BY event_type, channel, recipient`)
}

func event(t *testing.T, source, typ, subject string, sequence int64, m proto.Message) mq.Event {
	t.Helper()
	data, err := mq.Data(m)
	require.NoError(t, err)
	return mq.Event{ID: mq.NewID(), Source: source, Type: typ, Subject: subject, Sequence: sequence, Time: time.Now(), Data: data}
}

func registered(t *testing.T, id string) mq.Event {
	t.Helper()
	return event(t, "/member", eventv1.TypeMemberRegistered, id, 0,
		&eventv1.MemberRegistered{MemberId: id, Phone: "+8613800138000", Email: id + "@example.com", Name: "Ann"})
}

func order(t *testing.T, typ string, sequence int64) mq.Event {
	t.Helper()
	return event(t, "/order", typ, "o-1", sequence, &eventv1.OrderChanged{OrderId: "o-1", MemberId: "ann", TotalCents: 1000, Points: 10,
		Lines: []*eventv1.OrderChanged_Line{{Sku: "apple", Name: "苹果", Quantity: 2, PriceCents: 500}}})
}

func publish(t *testing.T, bus *mq.Bus, topic string, all ...mq.Event) {
	t.Helper()
	for _, e := range all {
		require.NoError(t, bus.Publish(t.Context(), topic, e))
	}
}

func TestGroups(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	require.Len(t, s.consumers, 4)
	for group, want := range map[string]string{
		"notify-sms": "member-events 0", "notify-email": "member-events 0", "notify-orders": "order-events 2", "notify-alerts": "alert-events 0",
	} {
		assert.Equal(t, want, fmt.Sprint(s.consumers[group].Topic, " ", int(s.consumers[group].Order)))
	}
}

// TestSignUp tests an SMS and a mail, each once, by two groups that do not wait for each other, in two processes each.
func TestSignUp(t *testing.T) {
	t.Parallel()
	server, s := rocketmqtest.Shared(t), newStage(t)
	topic := server.Topic(t)
	s.consume(t, server, "notify-sms", topic)
	s.consume(t, server, "notify-email", topic)
	ann := registered(t, "ann")
	publish(t, server.Dial(t), topic, ann, ann, registered(t, "bob"), ann)
	s.await(t, 4)
	assert.Equal(t, `member.registered EMAIL ann@example.com Welcome to Fourfold PENDING 1
member.registered EMAIL bob@example.com Welcome to Fourfold PENDING 1
member.registered SMS +8613800138000  PENDING 1
member.registered SMS +8613800138000  PENDING 1
--
`, s.told(t))
	assert.Equal(t, "ann +8613800138000 ann@example.com Ann\nbob +8613800138000 bob@example.com Ann\n--\n",
		mysqltest.Dump(t, s.db, "SELECT member_id, phone, email, name FROM contact ORDER BY member_id"))
}

// TestOrders tests that events are told in order and once, even if they come twice or early, and that some types are not told.
func TestOrders(t *testing.T) {
	t.Parallel()
	server, s := rocketmqtest.Shared(t), newStage(t)
	topic := server.Topic(t)
	s.consume(t, server, "notify-orders", topic)
	require.NoError(t, s.take(t, "notify-email", registered(t, "ann")))
	created, paid, shipped, completed := order(t, "order.created", 1), order(t, "order.paid", 2), order(t, "order.shipped", 3), order(t,
		"order.completed", 4)
	publish(t, server.Dial(t), topic, shipped, created, created, paid, completed, paid, shipped)
	s.await(t, 4)
	assert.Equal(t, `member.registered EMAIL ann@example.com Welcome to Fourfold PENDING 1
order.paid EMAIL ann@example.com Order paid: o-1 PENDING 1
order.shipped EMAIL ann@example.com Order shipped: o-1 PENDING 1
--
`, s.told(t))
	assert.Equal(t, "1\n--\n", mysqltest.Dump(t, s.db,
		"SELECT p.id < s.id FROM notification p JOIN notification s WHERE p.event_type = 'order.paid' AND s.event_type = 'order.shipped'"))
	for _, typ := range []string{"order.refunded", "order.canceled"} {
		require.NoError(t, s.take(t, "notify-orders", order(t, typ, 5)))
	}
	assert.Contains(t, s.told(t), "order.canceled EMAIL ann@example.com Order canceled: o-1 PENDING 1\n")
	assert.Contains(t, s.told(t), "order.refunded EMAIL ann@example.com Order refunded: o-1 PENDING 1\n")
}

// TestOrderBeforeItsMember tests an order's event that comes before its member's, on the other topic. It waits, but not for ever, because no
// event comes for seeded members.
func TestOrderBeforeItsMember(t *testing.T) {
	t.Parallel()
	server, s := rocketmqtest.Shared(t), newStage(t)
	members, orders := server.Topic(t), server.Topic(t)
	s.consume(t, server, "notify-email", members)
	s.consume(t, server, "notify-orders", orders)
	broker := server.Dial(t)
	publish(t, broker, orders, order(t, "order.created", 1), order(t, "order.paid", 2))
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Equal(c, "2 WAITING 0\n--\n", mysqltest.Dump(t, s.db, "SELECT seq, state, tries FROM mq_inbox WHERE state <> 'DONE'"))
	}, 2*time.Minute, 50*time.Millisecond, "to wait is no failure")
	assert.Equal(t, "--\n", s.told(t))
	publish(t, broker, members, registered(t, "ann"))
	s.await(t, 3)
	assert.Contains(t, s.told(t), "order.paid EMAIL ann@example.com Order paid: o-1 PENDING 1\n")
}

func TestNobodyKnowsTheMember(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	e := order(t, "order.paid", 1)
	e.Time = time.Now().Add(-events.ContactPatience + 20*time.Second)
	require.ErrorIs(t, s.take(t, "notify-orders", e), mq.ErrNotYet)
	e.Time = time.Now().Add(-events.ContactPatience - time.Second)
	require.NoError(t, s.take(t, "notify-orders", e), "no mail, and no failure")
	assert.Equal(t, "--\n", s.told(t))
}

// TestStale tests that a notification about an event more than a day old is stored and not sent.
func TestStale(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for age, group := range map[time.Duration]string{25 * time.Hour: "notify-sms", 23 * time.Hour: "notify-email"} {
		e := registered(t, "ann")
		e.Time = time.Now().Add(-age)
		require.NoError(t, s.take(t, group, e))
	}
	timeless := registered(t, "bob")
	timeless.Time = time.Time{}
	require.NoError(t, s.take(t, "notify-email", timeless))
	assert.Equal(t, `member.registered EMAIL ann@example.com Welcome to Fourfold PENDING 1
member.registered EMAIL bob@example.com Welcome to Fourfold PENDING 1
member.registered SMS +8613800138000  STALE 0
--
`, s.told(t))
}

// TestAlerts tests that each operator gets each alert once.
func TestAlerts(t *testing.T) {
	t.Parallel()
	server, s := rocketmqtest.Shared(t), newStage(t)
	topic := server.Topic(t)
	s.consume(t, server, "notify-alerts", topic)
	e := event(t, "/order", alertv1.TypeRaised, "order/payment/g-1", 0, &alertv1.Raised{Service: "order", Key: "payment/g-1",
		Summary: "a payment hangs", Detail: "look", Times: 1, Since: timestamppb.Now()})
	publish(t, server.Dial(t), topic, e, e)
	s.await(t, 1)
	assert.Equal(t, `alert.raised EMAIL op-1@example.com [Fourfold] order payment/g-1 PENDING 1
alert.raised EMAIL op-2@example.com [Fourfold] order payment/g-1 PENDING 1
--
`, s.told(t))
	assert.Equal(t, "1\n1\n--\n", mysqltest.Dump(t, s.db, "SELECT body LIKE '%a payment hangs%look%' FROM notification"))
}

// TestToldOnce: in no group an event that comes again when the inbox has forgotten it is told again. The broker may keep a message for longer
// than its row is kept.
func TestToldOnce(t *testing.T) {
	t.Parallel()
	server, s := rocketmqtest.Shared(t), newStage(t)
	require.NoError(t, s.take(t, "notify-email", registered(t, "ann"))) // the contact
	all := map[string]mq.Event{
		"notify-sms": registered(t, "bob"), "notify-email": registered(t, "bob"), "notify-orders": order(t, "order.paid", 1),
		"notify-alerts": event(t, "/order", alertv1.TypeRaised, "order/k", 0, &alertv1.Raised{Service: "order", Key: "k"}),
	}
	topics := map[string]string{}
	for group := range s.consumers {
		require.Contains(t, all, group, "a group that is new needs an event here, and a guard of its own")
		topics[group] = server.Topic(t)
		s.consume(t, server, group, topics[group])
	}
	bus := server.Dial(t)
	for _, again := range []bool{false, true} {
		before := s.told(t)
		_, err := s.db.ExecContext(t.Context(), "DELETE FROM mq_inbox")
		require.NoError(t, err)
		for group, e := range all {
			publish(t, bus, topics[group], e)
		}
		s.await(t, len(all))
		if again {
			assert.Equal(t, before, s.told(t))
		} else {
			assert.Equal(t, "6\n--\n", mysqltest.Dump(t, s.db, "SELECT COUNT(*) FROM notification"), "alerts go to two")
		}
	}
}

// TestWhatIsNoEvent tests that an unusable event fails, so that it becomes a dead letter and is looked at.
func TestWhatIsNoEvent(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for group := range s.consumers {
		e := order(t, "order.paid", 1)
		e.Data = []byte(`[]`)
		require.Error(t, s.take(t, group, e), group)
	}
	require.Error(t, s.take(t, "notify-email", registered(t, "")))
	assert.Equal(t, "--\n", s.told(t))
}
