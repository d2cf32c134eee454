package mq

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// Broadcast calls f for each event that comes to topic from now on, until ctx ends: in every process that calls it, once while all goes
// well, with no promise when something dies. Nothing is stored: it is for what a process shows, not for what it does. types
// are the events wanted, all when empty. f is called for events of a subject one after another.
func (b *Broker) Broadcast(ctx context.Context, topic string, types []string, f func(context.Context, Event)) error {
	c, queues, err := b.reader(ctx, topic)
	if c == nil {
		return err
	}
	defer func() { _ = c.Shutdown() }()
	at := map[int]int64{} // by queue: where to go on
	for n := 0; ctx.Err() == nil; {
		var failed error
		for i, q := range queues {
			if err := tail(ctx, c, q, i, at, types, f); err != nil {
				failed = err
			}
		}
		if failed == nil {
			n = 0
			sleep(ctx, broadcastEvery)
			continue
		}
		n++
		slog.DebugContext(ctx, "broadcast: read", "topic", topic, "err", failed)
		sleep(ctx, grow(n, broadcastEvery, 2*time.Second))
	}
	return nil
}

// broadcastEvery is how often the ends of the queues are looked at. The client could wait there for the next message, but not at
// several queues at the same time: it writes into itself.
const broadcastEvery = 200 * time.Millisecond

// tail reads what has come to queue i since the last look.
func tail(ctx context.Context, c rocketmq.PullConsumer, q *primitive.MessageQueue, i int, at map[int]int64, types []string, f func(context.Context, Event)) error {
	last, err := end(c, q)
	if err != nil {
		return err
	}
	if _, begun := at[i]; !begun {
		at[i] = last
	}
	for at[i] < last && ctx.Err() == nil {
		ms, next, err := pull(ctx, c, q, at[i])
		if err != nil {
			return err
		}
		at[i] = next
		for _, m := range ms {
			var e Event
			if json.Unmarshal(m.Body, &e) == nil && (len(types) == 0 || slices.Contains(types, e.Type)) && ctx.Err() == nil {
				f(ctx, e)
			}
		}
	}
	return nil
}

// Replay calls f for each event that topic took from from until to and still has, those of a subject in order, until f fails. Consumers
// are not touched: to let a group have them again, hand them to its handler, whose inbox knows what it has had.
func (b *Broker) Replay(ctx context.Context, topic string, from, to time.Time, f func(Event) error) error {
	c, queues, err := b.reader(ctx, topic)
	if c == nil {
		return err
	}
	defer func() { _ = c.Shutdown() }()
	for _, q := range queues {
		if err := replay(ctx, c, q, from, to, f); err != nil {
			return err
		}
	}
	return nil
}

func replay(ctx context.Context, c rocketmq.PullConsumer, q *primitive.MessageQueue, from, to time.Time, f func(Event) error) error {
	at, err := c.OffsetForTimestamp(q, from.UnixMilli())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	last, err := end(c, q)
	if err != nil {
		return err
	}
	for at = max(at, 0); at < last; {
		var ms []*primitive.MessageExt
		if ms, at, err = pull(ctx, c, q, at); err != nil {
			return err
		}
		for _, m := range ms {
			switch took := time.UnixMilli(m.StoreTimestamp); {
			case took.After(to):
				return nil
			case took.Before(from.Truncate(time.Millisecond)):
				continue
			}
			var e Event
			if err := json.Unmarshal(m.Body, &e); err != nil {
				slog.WarnContext(ctx, "replay: no event", "message", m.MsgId, "err", err)
				continue
			}
			if err := f(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// reader gives a consumer that reads the queues of topic where it is told to, and leaves no trace of what it has read. It waits for a
// topic that is not there, until ctx ends; nil then.
func (b *Broker) reader(ctx context.Context, topic string) (rocketmq.PullConsumer, []*primitive.MessageQueue, error) {
	for n := 1; ctx.Err() == nil; n++ {
		c, err := rocketmq.NewPullConsumer(
			consumer.WithNameServer(primitive.NamesrvAddr(b.names)),
			consumer.WithGroupName(b.cfg.Service+"-reader"),
			consumer.WithInstance(b.instance("reader")),
		)
		if err != nil {
			return nil, nil, fmt.Errorf("mq: %w", err)
		}
		if err := c.Assign(topic, nil); err != nil {
			return nil, nil, fmt.Errorf("mq: %w", err)
		}
		err = c.Start()
		if err == nil {
			var queues []*primitive.MessageQueue
			if queues, err = c.GetTopicRouteInfo(topic); err == nil {
				return c, queues, nil
			}
			_ = c.Shutdown()
		}
		slog.WarnContext(ctx, "reader waits for its topic", "topic", topic, "err", err)
		sleep(ctx, grow(n, 200*time.Millisecond, 5*time.Second))
	}
	return nil, nil, nil
}

// end is the offset behind the last message of q.
func end(c rocketmq.PullConsumer, q *primitive.MessageQueue) (int64, error) {
	at, err := c.OffsetForTimestamp(q, time.Now().Add(24*time.Hour).UnixMilli())
	if err != nil {
		return -1, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return at, nil
}

// pull reads what stands at an offset of q that is not its end. It gives the offset to go on at.
func pull(ctx context.Context, c rocketmq.PullConsumer, q *primitive.MessageQueue, at int64) ([]*primitive.MessageExt, int64, error) {
	r, err := c.PullFrom(ctx, q, at, pullBatch)
	switch {
	case err != nil:
		return nil, at, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case r.Status == primitive.PullFound:
		return r.GetMessageExts(), r.NextBeginOffset, nil
	case r.Status == primitive.PullBrokerTimeout:
		return nil, at, fmt.Errorf("%w: time-out", ErrUnavailable)
	}
	return nil, r.NextBeginOffset, nil
}
