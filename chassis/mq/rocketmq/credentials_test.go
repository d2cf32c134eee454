package rocketmq_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/rocketmq"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
)

// TestCredentials: at a broker that asks who sends, who has the keys sends, sends half messages and is asked back about them, consumes, and
// reads again. Who has others or none does nothing of that, and is told which settings are about it.
func TestCredentials(t *testing.T) {
	t.Parallel()
	server, err := rocketmqtest.StartAsking()
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	topic := server.Topic(t)

	t.Run("right", func(t *testing.T) {
		t.Parallel()
		b := server.Broker(t, "right")
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		t.Cleanup(running.Wait)
		t.Cleanup(cancel)
		got := make(chan string, 10)
		running.Go(func() {
			assert.NoError(t, b.Listen(ctx, mq.Subscription{Group: "right", Topic: topic, Workers: 1}, func(d mq.Delivery) bool {
				got <- d.Event.ID
				return true
			}))
		})
		asked := make(chan string, 10)
		halves := b.Transactions(func(_, id string, _ time.Time) mq.Verdict {
			asked <- id
			return mq.Commit
		})
		running.Go(func() { assert.NoError(t, halves.Answer(ctx, topic)) })

		plain, known, unknown := mqlaws.New("s", 1), mqlaws.New("s", 2), mqlaws.New("s", 3)
		require.Eventually(t, func() bool { return b.Send(ctx, topic, plain, time.Time{}) == nil }, 20*time.Second, 50*time.Millisecond)
		for _, half := range []struct {
			event   mq.Event
			verdict mq.Verdict
		}{{known, mq.Commit}, {unknown, mq.Unknown}} {
			require.NoError(t, halves.Half(ctx, topic, half.event, time.Now(), func() mq.Verdict { return half.verdict }))
		}
		missing := map[string]bool{plain.ID: true, known.ID: true, unknown.ID: true}
		for len(missing) > 0 {
			select {
			case id := <-got:
				delete(missing, id)
			case <-time.After(60 * time.Second):
				t.Fatalf("%d of three did not come", len(missing))
			}
		}
		assert.Equal(t, unknown.ID, <-asked, "the broker asked back")
		read := 0
		_, err := b.Replay(ctx, topic, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "", func(mq.Delivery) error { read++; return nil })
		require.NoError(t, err)
		assert.GreaterOrEqual(t, read, 3)
		_, err = b.DiskUsed(ctx)
		require.NoError(t, err)
	})

	right := server.Config()
	for name, cfg := range map[string]rocketmq.Config{
		"none":           {NameServers: right.NameServers},
		"another secret": {NameServers: right.NameServers, AccessKey: right.AccessKey, SecretKey: "guessed"},
		"unknown":        {NameServers: right.NameServers, AccessKey: "nobody", SecretKey: right.SecretKey},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := rocketmq.Dial("wrong", cfg)
			require.NoError(t, err)
			t.Cleanup(b.Close)
			halves := b.Transactions(func(string, string, time.Time) mq.Verdict { return mq.Unknown })
			local := func() mq.Verdict { t.Error("it has a half message"); return mq.Commit }
			_, diskErr := b.DiskUsed(t.Context())
			_, replayErr := b.Replay(t.Context(), topic, time.Time{}, time.Now(), "", func(mq.Delivery) error { return nil })
			for what, err := range map[string]error{
				"send":   b.Send(t.Context(), topic, mqlaws.New("s", 1), time.Time{}),
				"half":   halves.Half(t.Context(), topic, mqlaws.New("s", 1), time.Now(), local),
				"disk":   diskErr,
				"replay": replayErr,
				"topic":  rocketmq.CreateTopic(t.Context(), cfg, "another", 1),
				"listen": b.Waiting(t.Context(), topic),
			} {
				assert.ErrorContains(t, err, "mq.access_key and mq.secret_key", what)
				if what != "topic" && what != "listen" {
					assert.ErrorIs(t, err, mq.ErrUnavailable, "%s: it may be permitted later", what)
				}
			}
			listening, end := context.WithTimeout(t.Context(), 2*time.Second)
			defer end()
			assert.NoError(t, b.Listen(listening, mq.Subscription{Group: "wrong", Topic: topic, Workers: 1}, func(d mq.Delivery) bool {
				t.Errorf("it got %s", d.Event.ID)
				return true
			}))
		})
	}
}

// TestCredentialsAreWhole: one key without the other would sign nothing.
func TestCredentialsAreWhole(t *testing.T) {
	t.Parallel()
	for _, cfg := range []rocketmq.Config{{AccessKey: "shop"}, {SecretKey: "a secret"}} {
		cfg.NameServers = "127.0.0.1:1"
		_, err := rocketmq.Dial("half", cfg)
		require.ErrorContains(t, err, "mq.access_key and mq.secret_key belong together: set both, or none")
		require.ErrorContains(t, rocketmq.CreateTopic(t.Context(), cfg, "things", 1), "mq.access_key and mq.secret_key")
	}
}
