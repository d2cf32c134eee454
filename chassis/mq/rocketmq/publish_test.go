package rocketmq_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/rocketmq"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
)

// event returns a well-formed event of a subject.
func event(subject string, sequence int64) mq.Event {
	return mq.Event{ID: mq.NewID(), Source: "/test", Type: "thing.happened", Subject: subject, Sequence: sequence,
		Time: time.Now(), Data: []byte(`{"n":1}`)}
}

// TestPublishTellsRefusedFromUnavailable: the errors distinguish what will never work from what may work later.
func TestPublishTellsRefusedFromUnavailable(t *testing.T) {
	t.Parallel()
	s := rocketmqtest.Shared(t)
	b, topic := s.Dial(t), s.Topic(t)
	require.NoError(t, b.Publish(t.Context(), topic, event("a", 1)))

	for what, broken := range map[string]func(*mq.Event){
		"long id":          func(e *mq.Event) { e.ID = strings.Repeat("i", 65) },
		"long source":      func(e *mq.Event) { e.Source = strings.Repeat("s", 129) },
		"no type":          func(e *mq.Event) { e.Type = "" },
		"long subject":     func(e *mq.Event) { e.Subject = strings.Repeat("s", 129) },
		"control":          func(e *mq.Event) { e.Subject = "a\x01b" },
		"type of two":      func(e *mq.Event) { e.Type = "a||b" },
		"lonely sequence":  func(e *mq.Event) { e.Subject, e.Sequence = "", 1 },
		"negative":         func(e *mq.Event) { e.Sequence = -1 },
		"not JSON":         func(e *mq.Event) { e.Data = []byte("{") },
		"attribute's name": func(e *mq.Event) { e.Attributes = map[string]string{"TAGS": "x"} },
		"too large":        func(e *mq.Event) { e.Data = []byte(`"` + strings.Repeat("x", 1<<20) + `"`) },
	} {
		e := event("a", 1)
		broken(&e)
		assert.ErrorIs(t, b.Publish(t.Context(), topic, e), mq.ErrRefused, what)
	}
	assert.ErrorIs(t, b.Publish(t.Context(), "a topic", event("a", 1)), mq.ErrRefused)
	assert.ErrorIs(t, b.Publish(t.Context(), "nobody-made-it", event("a", 1)), mq.ErrUnavailable)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, b.Publish(canceled, topic, event("a", 1)), mq.ErrUnavailable)
}

// TestFrozenBroker: a send to a broker that says nothing fails within its time-out, and works again when the broker goes on.
func TestFrozenBroker(t *testing.T) {
	t.Parallel()
	s, err := rocketmqtest.Start()
	require.NoError(t, err)
	t.Cleanup(s.Stop)
	b, topic := s.Dial(t), s.Topic(t)
	require.NoError(t, b.Publish(t.Context(), topic, event("a", 1)))

	require.NoError(t, s.Freeze())
	start := time.Now()
	assert.ErrorIs(t, b.Publish(t.Context(), topic, event("a", 2)), mq.ErrUnavailable)
	assert.Less(t, time.Since(start), 5*time.Second)
	require.NoError(t, s.Thaw())
	require.Eventually(t, func() bool { return b.Publish(t.Context(), topic, event("a", 3)) == nil }, 20*time.Second, 50*time.Millisecond)

	s.Kill()
	assert.ErrorIs(t, b.Publish(t.Context(), topic, event("a", 4)), mq.ErrUnavailable)
	require.NoError(t, s.Restart())
	require.Eventually(t, func() bool { return b.Publish(t.Context(), topic, event("a", 5)) == nil }, 40*time.Second, 50*time.Millisecond)
}

// TestLoopbackOnly: name server and broker listen on 127.0.0.1 and nowhere else.
func TestLoopbackOnly(t *testing.T) {
	t.Parallel()
	s := rocketmqtest.Shared(t)
	for _, pid := range s.PIDs() {
		addrs, err := rocketmqtest.Listening(pid)
		require.NoError(t, err)
		require.NotEmpty(t, addrs)
		for _, a := range addrs {
			ip, _, _ := strings.Cut(a, ":")
			assert.Contains(t, []string{"0100007F", "0000000000000000FFFF00000100007F"}, ip, fmt.Sprint(addrs))
		}
	}
}

// TestNameWithoutAddress: a name server without an address prevents no start; meanwhile sends are unavailable, and listeners wait.
func TestNameWithoutAddress(t *testing.T) {
	t.Parallel()
	b, err := rocketmq.Dial("nobody", rocketmq.Config{NameServers: "nobody.invalid:9876"})
	require.NoError(t, err)
	defer b.Close()
	assert.ErrorIs(t, b.Send(t.Context(), "things", event("a", 1), time.Time{}), mq.ErrUnavailable)
	half := b.Transactions(func(string, string, time.Time) mq.Verdict { return mq.Unknown })
	assert.ErrorIs(t, half.Half(t.Context(), "things", event("a", 1), time.Now(), func() mq.Verdict { return mq.Commit }), mq.ErrUnavailable)
	_, err = b.Replay(t.Context(), "things", time.Time{}, time.Now(), "", func(mq.Delivery) error { return nil })
	assert.ErrorIs(t, err, mq.ErrUnavailable)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for _, waits := range []func() error{
		func() error {
			return b.Listen(ctx, mq.Subscription{Group: "g", Topic: "things", Workers: 1}, func(mq.Delivery) bool { return true })
		},
		func() error { return b.Tail(ctx, mq.View{Topic: "things"}, func(context.Context, mq.Event) {}) },
		func() error { return half.Answer(ctx, "things") },
	} {
		assert.NoError(t, waits())
		assert.Error(t, ctx.Err(), "it waits until it is told to end")
	}
	for _, list := range []string{"", "here", "here:", ":9876", "a:1,,b:2", "a:1 b:2"} {
		_, err := rocketmq.Dial("nobody", rocketmq.Config{NameServers: list})
		assert.ErrorContains(t, err, "mq.name_servers is host:port", list)
	}
}
