package operators_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/memory"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/mq/operators"
)

// group is the subscription of notify here: things that happened.
var group = mq.Subscription{Group: "notify-things", Topic: "things", Types: []string{"thing.happened"}}

// consuming returns notify with a transport of its own; its group writes effects.
func consuming(t *testing.T, transport mq.Transport, keep time.Duration) (*sql.DB, *mq.Bus, *operators.Server) {
	db := mysqltest.Open(t, mqlaws.Migrations, mq.Tables())
	bus := mq.NewBus("notify", transport, mq.Config{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); assert.NoError(t, bus.Consume(ctx, db, group, mqlaws.Effect("a"))) }()
	t.Cleanup(func() { cancel(); <-done })
	require.Eventually(t, func() bool { return len(bus.Groups()) == 1 }, 20*time.Second, time.Millisecond)
	return db, bus, operators.NewServer("notify", db, bus, mq.NewOutbox(db, bus, mq.OutboxConfig{}), nil, keep)
}

// replayed calls ReplayMessages until the end and adds up the replies.
func replayed(t *testing.T, s *operators.Server, req *mqv1.ReplayMessagesRequest) (sum *mqv1.ReplayMessagesReply, calls int) {
	t.Helper()
	sum = &mqv1.ReplayMessagesReply{}
	for {
		calls++
		require.Less(t, calls, 20, "it ends")
		part, err := s.ReplayMessages(t.Context(), req)
		require.NoError(t, err)
		sum.Offered += part.GetOffered()
		sum.Effects += part.GetEffects()
		sum.Known += part.GetKnown()
		assert.Equal(t, "notify", part.GetService())
		sum.To, req.To = part.GetTo(), part.GetTo()
		if req.Position = part.GetPosition(); req.Position == "" {
			return sum, calls
		}
	}
}

func ago(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(time.Now().Add(-d)) }

// TestReplayMessages: a replay goes part by part from the beginning to the end, which stays where it was at the first call.
func TestReplayMessages(t *testing.T) {
	t.Parallel()
	transport := memory.New()
	db, bus, s := consuming(t, transport, mq.MinKeep)
	publish := func(n int, kind string) {
		e := mqlaws.New(fmt.Sprint("s", n), 0)
		e.Type = kind
		require.NoError(t, bus.Publish(t.Context(), group.Topic, e))
	}
	for n := range 1200 {
		publish(n, map[bool]string{true: "thing.happened", false: "thing.else"}[n%20 == 0])
	}
	mqlaws.AwaitCount(t, db, 60, "SELECT COUNT(*) FROM mq_inbox")
	req := &mqv1.ReplayMessagesRequest{Topic: group.Topic, Group: group.Group, From: ago(time.Minute)}
	all, calls := replayed(t, s, proto.CloneOf(req))
	assert.Equal(t, []int64{60, 0, 60}, []int64{all.GetOffered(), all.GetEffects(), all.GetKnown()})
	assert.Equal(t, 3, calls, "1200 messages, 500 a call")

	for _, stmt := range []string{"DELETE FROM effect WHERE subject IN ('s0', 's600', 's1180')",
		"DELETE FROM mq_inbox WHERE subject IN ('s0', 's600', 's1180')"} {
		_, err := db.ExecContext(t.Context(), stmt)
		require.NoError(t, err)
	}
	publish(2000, "thing.happened") // after all.To
	req.To = all.GetTo()
	again, _ := replayed(t, s, proto.CloneOf(req))
	assert.Equal(t, []int64{60, 3, 57}, []int64{again.GetOffered(), again.GetEffects(), again.GetKnown()})
	mqlaws.AwaitCount(t, db, 61, "SELECT COUNT(DISTINCT event_id) FROM effect")
	mqlaws.Settled(t, db)
}

// TestReplayRefuses: each field that is wrong is named.
func TestReplayRefuses(t *testing.T) {
	t.Parallel()
	_, bus, s := consuming(t, memory.New(), mq.MinKeep)
	for range 1000 { // of a type that the group does not want
		require.NoError(t, bus.Publish(t.Context(), group.Topic, mq.Event{Type: "thing.else"}))
	}
	good := &mqv1.ReplayMessagesRequest{Topic: group.Topic, Group: group.Group, From: ago(time.Minute)}
	part, err := s.ReplayMessages(t.Context(), good)
	require.NoError(t, err)
	require.NotEmpty(t, part.GetPosition())
	next := proto.CloneOf(good)
	next.Position, next.To = part.GetPosition(), part.GetTo()
	_, err = s.ReplayMessages(t.Context(), next)
	require.NoError(t, err)

	for name, c := range map[string]struct {
		change func(*mqv1.ReplayMessagesRequest)
		says   string
	}{
		"another topic": {func(r *mqv1.ReplayMessagesRequest) { r.Position, r.Topic = "", "others" },
			"topic: group notify-things consumes topic things, not others"},
		"forgotten": {func(r *mqv1.ReplayMessagesRequest) { r.From = ago(mq.MinKeep) }, "from: at the earliest "},
		"almost forgotten": {func(r *mqv1.ReplayMessagesRequest) { r.From = ago(mq.MinKeep - 23*time.Hour + time.Minute) },
			"from: at the earliest "},
		"before any time": {func(r *mqv1.ReplayMessagesRequest) { r.From = &timestamppb.Timestamp{Seconds: -62135596800} },
			"from: at the earliest "},
		"the future":              {func(r *mqv1.ReplayMessagesRequest) { r.To = ago(-time.Hour) }, "to: lies in the future"},
		"after its end":           {func(r *mqv1.ReplayMessagesRequest) { r.To = ago(2 * time.Minute) }, "from: lies after to"},
		"position with its topic": {func(r *mqv1.ReplayMessagesRequest) { r.Topic = "others" }, "position: "},
		"position with its from":  {func(r *mqv1.ReplayMessagesRequest) { r.From = ago(time.Second) }, "position: "},
		"position with its to":    {func(r *mqv1.ReplayMessagesRequest) { r.To = nil }, "position: "},
		"position made up":        {func(r *mqv1.ReplayMessagesRequest) { r.Position = "NTAw" }, "position: "},
		"position cut":            {func(r *mqv1.ReplayMessagesRequest) { r.Position = r.Position[1:] }, "position: "},
		"position longer":         {func(r *mqv1.ReplayMessagesRequest) { r.Position += "A" }, "position: "},
		"position no base64":      {func(r *mqv1.ReplayMessagesRequest) { r.Position = "%" }, "position: "},
	} {
		req := proto.CloneOf(next)
		c.change(req)
		_, err := s.ReplayMessages(t.Context(), req)
		assert.True(t, mqv1.IsMessagesInvalid(err), "%s: %v", name, err)
		assert.Contains(t, kerrors.FromError(err).Message, c.says, name)
	}
	for _, group := range []string{"notify-others", "", "things"} {
		_, err = s.ReplayMessages(t.Context(), &mqv1.ReplayMessagesRequest{Topic: "things", Group: group})
		assert.True(t, mqv1.IsGroupNotFound(err), "%v", err)
		assert.Equal(t, "notify-things", kerrors.FromError(err).Metadata["groups"])
	}
}

// TestReplayFromTheEarliest: the time that a refusal names is accepted, even when the last call comes later; when rows are kept for ever there
// is no earliest time.
func TestReplayFromTheEarliest(t *testing.T) {
	t.Parallel()
	_, _, s := consuming(t, memory.New(), mq.MinKeep)
	req := &mqv1.ReplayMessagesRequest{Topic: group.Topic, Group: group.Group, From: ago(mq.MinKeep)}
	_, err := s.ReplayMessages(t.Context(), req)
	var told string
	_, scanErr := fmt.Sscanf(kerrors.FromError(err).Message, "from: at the earliest %20s:", &told)
	require.NoError(t, scanErr, "%v", err)
	earliest, err := time.Parse(time.RFC3339, told)
	require.NoError(t, err)
	for _, from := range []time.Time{earliest, earliest.Add(-59 * time.Minute)} {
		req.From = timestamppb.New(from)
		_, err = s.ReplayMessages(t.Context(), req)
		require.NoError(t, err)
	}
	_, _, forever := consuming(t, memory.New(), 0)
	req.From = timestamppb.New(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
	_, err = forever.ReplayMessages(t.Context(), req)
	require.NoError(t, err)
}

// lost is a history that cannot be read to its end: after some messages the broker is away.
type lost struct {
	*memory.Transport
	after int
}

func (l lost) Replay(ctx context.Context, topic string, from, to time.Time, position string, f func(mq.Delivery) error) (string, error) {
	n := 0
	next, err := l.Transport.Replay(ctx, topic, from, to, position, func(d mq.Delivery) error {
		if n == l.after {
			return mq.ErrUnavailable
		}
		n++
		return f(d)
	})
	return next, err
}

// TestReplayWithoutBroker: what was done is reported, and the same call goes on when the broker is back.
func TestReplayWithoutBroker(t *testing.T) {
	t.Parallel()
	transport := memory.New()
	db, bus, s := consuming(t, lost{transport, 2}, mq.MinKeep)
	for n := range 3 {
		require.NoError(t, bus.Publish(t.Context(), group.Topic, mqlaws.New(fmt.Sprint("s", n), 0)))
	}
	mqlaws.AwaitCount(t, db, 3, "SELECT COUNT(*) FROM mq_inbox")
	all, calls := replayed(t, s, &mqv1.ReplayMessagesRequest{Topic: group.Topic, Group: group.Group, From: ago(time.Minute)})
	assert.EqualValues(t, 3, all.GetKnown())
	assert.Equal(t, 2, calls)

	db, bus, s = consuming(t, lost{memory.New(), 0}, mq.MinKeep)
	require.NoError(t, bus.Publish(t.Context(), group.Topic, mqlaws.New("s", 0)))
	mqlaws.AwaitCount(t, db, 1, "SELECT COUNT(*) FROM mq_inbox")
	_, err := s.ReplayMessages(t.Context(), &mqv1.ReplayMessagesRequest{Topic: group.Topic, Group: group.Group, From: ago(time.Minute)})
	assert.Equal(t, 503, kerrors.Code(err), "%v", err)
	assert.Equal(t, "TRY_LATER", kerrors.Reason(err))

	_, _, s = consuming(t, mqtest.Away{}, mq.MinKeep)
	_, err = s.ReplayMessages(t.Context(), &mqv1.ReplayMessagesRequest{Topic: group.Topic, Group: group.Group, From: ago(time.Minute)})
	assert.True(t, mqv1.IsMessagesInvalid(err), "%v", err)
}

// TestResendMessages: a resend goes part by part and sends each event once, though an event that is sent again soon counts as sent too.
func TestResendMessages(t *testing.T) {
	t.Parallel()
	db, s := open(t)
	exec := func(stmt string) {
		t.Helper()
		_, err := db.ExecContext(t.Context(), stmt)
		require.NoError(t, err)
	}
	exec(`INSERT INTO mq_outbox (event_id, topic, subject, event, state, closed_at)
		WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 550)
		SELECT CONCAT(topic, i), topic, CONCAT('s', i), '{}', 'SENT', IF(i = 1, NOW(3) - INTERVAL 1 HOUR, NOW(3))
		FROM n, (SELECT 'things' AS topic UNION ALL SELECT 'others') AS two`)
	req := &mqv1.ResendMessagesRequest{Service: "notify", Topic: "things", Since: ago(time.Minute)}
	total, calls := int64(0), 0
	for more := true; more; calls++ {
		require.Less(t, calls, 10, "it ends")
		part, err := s.ResendMessages(t.Context(), req)
		require.NoError(t, err)
		total += part.GetEvents()
		req.Until, more = part.GetUntil(), part.GetMore()
		exec("UPDATE mq_outbox SET state = 'SENT', closed_at = NOW(3), last_error = CONCAT(last_error, 'again') WHERE state = 'READY'")
	}
	assert.EqualValues(t, 549, total)
	assert.Equal(t, 2, calls, "500 a call")
	assert.Equal(t, "549\n--\n", mysqltest.Dump(t, db, "SELECT COUNT(*) FROM mq_outbox WHERE last_error = 'again' AND topic = 'things'"))
	all, err := s.ResendMessages(t.Context(), &mqv1.ResendMessagesRequest{Service: "notify", Since: ago(2 * time.Hour)})
	require.NoError(t, err)
	assert.EqualValues(t, 500, all.GetEvents())
	assert.True(t, all.GetMore())
}

// TestResendRefuses: the bound is mq.MinKeep even for a service that keeps its own rows longer, because other groups may not.
func TestResendRefuses(t *testing.T) {
	t.Parallel()
	_, _, s := consuming(t, memory.New(), 0)
	for _, c := range []struct {
		since, until *timestamppb.Timestamp
		says         string
	}{
		{ago(mq.MinKeep - 23*time.Hour + time.Minute), nil, "since: at the earliest "},
		{ago(time.Minute), ago(-time.Hour), "until: lies in the future"},
		{ago(time.Minute), ago(time.Hour), "since: lies after until"},
	} {
		_, err := s.ResendMessages(t.Context(), &mqv1.ResendMessagesRequest{Service: "notify", Since: c.since, Until: c.until})
		assert.True(t, mqv1.IsMessagesInvalid(err), "%v", err)
		assert.Contains(t, kerrors.FromError(err).Message, c.says)
	}
	_, err := s.ResendMessages(t.Context(), &mqv1.ResendMessagesRequest{Service: "order", Since: ago(time.Minute)})
	assert.True(t, mqv1.IsServiceNotFound(err), "%v", err)
}
