package mqlaws

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
)

// forged: an event that no holder of a key sent, or of which anything was changed, is a dead letter at once. It has no effect, is not told to who
// looks, and takes neither the id nor the number of a real event. Events signed with a key of before are still believed.
func forged(t *testing.T, w *world) {
	parse := func(text string) mac.Keys {
		keys, err := mac.Parse(text)
		require.NoError(t, err)
		return keys
	}
	const before, now = "k1:00112233445566778899aabbccddeeff", "k2:ffeeddccbbaa99887766554433221100"
	service := func(keys string) *mq.Bus { return mq.NewBus("laws", w.transport, mq.Config{Keys: parse(keys)}) }
	current := service(now + "," + before)
	s := w.subscription("a", mq.Strict)
	background(t, func(ctx context.Context) error { return current.Consume(ctx, w.db, s, Effect("a")) })
	shown := make(chan mq.Event, 100)
	background(t, func(ctx context.Context) error {
		return current.Tail(ctx, w.topic, nil, func(_ context.Context, e mq.Event) { shown <- e })
	})
	require.NoError(t, service(before).Publish(t.Context(), w.topic, New("s", 1)))
	second := New("s", 2)
	second.Attributes, second.Data = map[string]string{"region": "eu"}, []byte(`{ "text": "<&>" }`)
	require.NoError(t, current.Publish(t.Context(), w.topic, second))
	w.awaitEffects(t, 2)

	history, ok := w.transport.(mq.History)
	require.True(t, ok)
	all, err := mqtest.Events(t.Context(), history, w.topic, time.Now().Add(-time.Hour))
	require.NoError(t, err)
	require.Len(t, all, 2)
	real := all[0]
	if real.ID != second.ID {
		real = all[1]
	}
	third := New("s", 3) // its id is known to the forger
	forgeries := []mq.Event{third}
	for _, change := range []func(e *mq.Event){
		func(e *mq.Event) { e.ID = third.ID },
		func(e *mq.Event) { e.Source = "/another" },
		func(e *mq.Event) { e.Type = "thing.else" },
		func(e *mq.Event) { e.Subject = "t" },
		func(e *mq.Event) { e.Time = e.Time.Add(time.Second) },
		func(e *mq.Event) { e.Sequence = 3 },
		func(e *mq.Event) { e.Sequence = 1 << 62 },
		func(e *mq.Event) { e.Generation = "g" },
		func(e *mq.Event) { e.Data = []byte(`{"text":"x"}`) },
		func(e *mq.Event) { e.ContentType = "application/cloudevents+json" },
		func(e *mq.Event) { e.Attributes = nil },
		func(e *mq.Event) { e.Attributes = map[string]string{"region": "us"} },
		func(e *mq.Event) { e.Attributes = map[string]string{"region": "eu", "more": ""} },
		func(e *mq.Event) { e.Signature = "k2.AAAA" },
		func(e *mq.Event) { e.Signature = "k3" + e.Signature[2:] },
	} {
		e := real
		change(&e)
		forgeries = append(forgeries, e)
	}
	for _, e := range forgeries {
		w.deliver(t, e)
	}
	require.NoError(t, service("k2:0123456789abcdef0123456789abcdef").Publish(t.Context(), w.topic, New("s", 3)))
	AwaitCount(t, w.db, len(forgeries)+1, "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DEAD' AND type = '?'")
	require.NoError(t, current.Publish(t.Context(), w.topic, third))
	w.awaitEffects(t, 3)
	Settled(t, w.db)
	assert.Equal(t, "1\n2\n3\n--\n", mysqltest.Dump(t, w.db, "SELECT seq FROM effect ORDER BY id"))
	require.Eventually(t, func() bool { // the last one was shown
		for {
			select {
			case e := <-shown:
				assert.Contains(t, []string{all[0].ID, all[1].ID, third.ID}, e.ID)
				if e.ID == third.ID {
					return true
				}
			default:
				return false
			}
		}
	}, patience, 20*time.Millisecond)
}
