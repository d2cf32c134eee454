package mqlaws

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mq"
)

// forged: an event that no holder of a key sent to this topic, or of which anything was changed, is a dead letter at once. It has no effect, is
// not told to who looks, and takes neither the id nor the number of the real event, which the forger has seen before the group has. Events
// signed with a key of before are still believed.
func forged(t *testing.T, w *world) {
	const before, now, strange = "k1:00112233445566778899aabbccddeeff", "k2:ffeeddccbbaa99887766554433221100",
		"k2:0123456789abcdef0123456789abcdef"
	service := func(transport mq.Transport, keys string) *mq.Bus {
		parsed, err := mac.Parse(keys)
		require.NoError(t, err)
		return mq.NewBus("laws", transport, mq.Config{Keys: parsed})
	}
	signed := func(keys, topic string, e mq.Event) mq.Event {
		var kept keeper
		require.NoError(t, service(&kept, keys).Publish(t.Context(), topic, e))
		return kept.event
	}
	current := service(w.transport, now+","+before)
	s := w.subscription("a", mq.Strict)
	background(t, func(ctx context.Context) error { return current.Consume(ctx, w.db, s, Effect("a")) })
	shown := make(chan mq.Event, 100)
	background(t, func(ctx context.Context) error {
		return current.Tail(ctx, mq.View{Topic: w.topic}, func(_ context.Context, e mq.Event) { shown <- e })
	})
	first, second, third := New("s", 1), New("s", 2), New("s", 3)
	third.Attributes, third.Data = map[string]string{"region": "eu"}, []byte(`{ "text": "<&>" }`)
	require.NoError(t, service(w.transport, before).Publish(t.Context(), w.topic, first))
	require.NoError(t, current.Publish(t.Context(), w.topic, second))
	w.awaitEffects(t, 2)

	real := signed(now, w.topic, third)
	forgeries := []mq.Event{third, signed(strange, w.topic, third), signed(now, w.topic+"2", third)}
	for _, change := range []func(e *mq.Event){
		func(e *mq.Event) { e.ID = mq.NewID() },
		func(e *mq.Event) { e.Source = "/another" },
		func(e *mq.Event) { e.Type = "thing.else" },
		func(e *mq.Event) { e.Subject = "t" },
		func(e *mq.Event) { e.Time = e.Time.Add(time.Second) },
		func(e *mq.Event) { e.Sequence = 4 },
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
	letters := map[string]bool{} // one for each event that they pretend to be
	for _, e := range forgeries {
		letters[e.Source+" "+e.ID] = true
	}
	const all = "SELECT COUNT(*) FROM mq_inbox WHERE state = 'DEAD' AND type = '?'"
	believed := "SELECT subject, seq, generation, state FROM mq_inbox WHERE type <> '?' AND event_id NOT IN ('" + first.ID + "', '" + second.ID + "')"
	require.Eventually(t, func() bool {
		return mysqltest.Dump(t, w.db, all) == fmt.Sprintf("%d\n--\n", len(letters)) || mysqltest.Dump(t, w.db, believed) != "--\n"
	}, patience, 20*time.Millisecond)
	require.Equal(t, "--\n", mysqltest.Dump(t, w.db, believed))
	w.deliver(t, real)
	w.awaitEffects(t, 3)
	Settled(t, w.db)
	assert.Equal(t, "1\n2\n3\n--\n", mysqltest.Dump(t, w.db, "SELECT seq FROM effect ORDER BY id"))
	text := func(e mq.Event) string {
		b, err := e.MarshalJSON()
		require.NoError(t, err)
		return string(b)
	}
	require.Eventually(t, func() bool { // the last one was shown
		for {
			select {
			case e := <-shown:
				switch {
				case e.ID == first.ID, e.ID == second.ID:
				case assert.Equal(t, text(real), text(e)):
					return true
				}
			default:
				return false
			}
		}
	}, patience, 20*time.Millisecond)
}

// keeper is a transport that keeps what is sent through it.
type keeper struct {
	mq.Transport
	event mq.Event
}

func (k *keeper) Send(_ context.Context, _ string, e mq.Event, _ time.Time) error {
	k.event = e
	return nil
}
