package rocketmq_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
)

// seen collects subjects and sequence numbers.
type seen struct {
	mu  sync.Mutex
	all []string
}

func (s *seen) add(e mq.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, fmt.Sprintf("%s/%d", e.Subject, e.Sequence))
}

func (s *seen) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// TestTail: each instance gets each event that comes while it listens, and only the types it wants.
func TestTail(t *testing.T) {
	t.Parallel()
	s := rocketmqtest.Shared(t)
	topic := s.Topic(t)
	before := mqlaws.New("before", 1)
	first := s.Dial(t)
	require.NoError(t, first.Publish(t.Context(), topic, before))
	var instances [2]seen
	for i := range instances {
		b := s.Broker(t, "tail")
		background(t, func(ctx context.Context) error {
			return b.Tail(ctx, mq.View{Topic: topic, Types: []string{"thing.happened"}}, func(_ context.Context, e mq.Event) { instances[i].add(e) })
		})
	}
	// A Tail skips events from before it listens, so it is ready when it hears one.
	for i := range instances {
		require.Eventually(t, func() bool {
			require.NoError(t, first.Publish(t.Context(), topic, mqlaws.New("ready", 1)))
			return instances[i].len() > 0
		}, 30*time.Second, 50*time.Millisecond)
	}
	for n := range int64(20) {
		e := mqlaws.New("s", n+1)
		require.NoError(t, first.Publish(t.Context(), topic, e))
		e = mqlaws.New("other", n+1)
		e.Type = "thing.else"
		require.NoError(t, first.Publish(t.Context(), topic, e))
	}
	for i := range instances {
		require.Eventually(t, func() bool {
			instances[i].mu.Lock()
			defer instances[i].mu.Unlock()
			n := int64(1)
			for _, one := range instances[i].all {
				if one == fmt.Sprintf("s/%d", n) {
					n++
				}
				require.NotContains(t, []string{"before/1", "other/1"}, one)
			}
			return n == 21
		}, 30*time.Second, 20*time.Millisecond)
	}
}

// TestReplay returns what the topic took in a span of time, each subject in order.
func TestReplay(t *testing.T) {
	t.Parallel()
	s := rocketmqtest.Shared(t)
	b, topic := s.Broker(t, "replay"), s.Topic(t)
	publish := func(subject string, from, to int64) {
		for n := from; n <= to; n++ {
			require.NoError(t, b.Send(t.Context(), topic, mqlaws.New(subject, n), time.Time{}))
		}
	}
	publish("a", 1, 50)
	time.Sleep(20 * time.Millisecond) // the broker's clock is in milliseconds
	from := time.Now()
	publish("a", 51, 100)
	publish("b", 1, 10)
	to := time.Now()
	time.Sleep(20 * time.Millisecond)
	publish("a", 101, 110)

	read := func(from, to time.Time) map[string][]int64 {
		got := map[string][]int64{}
		position := ""
		for calls := 0; calls == 0 || position != ""; calls++ { // 7 at a time
			require.Less(t, calls, 50)
			var err error
			n := 0
			enough := errors.New("enough")
			position, err = b.Replay(t.Context(), topic, from, to, position, func(d mq.Delivery) error {
				if n++; n > 7 {
					return enough
				}
				got[d.Event.Subject] = append(got[d.Event.Subject], d.Event.Sequence)
				return d.Broken
			})
			require.True(t, err == nil && position == "" || errors.Is(err, enough) && position != "", "%v at %q", err, position)
		}
		return got
	}
	count := func(from, to int64) (all []int64) {
		for n := from; n <= to; n++ {
			all = append(all, n)
		}
		return all
	}
	assert.Equal(t, map[string][]int64{"a": count(51, 100), "b": count(1, 10)}, read(from, to))
	assert.Equal(t, map[string][]int64{"a": count(1, 110), "b": count(1, 10)}, read(time.Time{}.AddDate(2000, 0, 0), time.Now()))
	assert.Empty(t, read(time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)))
	for _, position := range []string{"x", "0", "broker-a/0/1", topic + "/broker-a/9/1", topic + "/broker-a/0/x", topic + "/broker-a/0/-2",
		topic + "/another/0/1",
		"other/broker-a/0/1", topic + "/broker-a/0/01"} {
		_, err := b.Replay(t.Context(), topic, from, to, position, func(mq.Delivery) error { return nil })
		assert.ErrorIs(t, err, mq.ErrRefused, position)
	}
}
