package rocketmq

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"example.com/fourfold/chassis/mq"
)

// Replay implements mq.History. It reads one queue after another; a position is a topic, a queue and an offset there.
func (b *Broker) Replay(ctx context.Context, topic string, from, to time.Time, position string, f func(mq.Delivery) error) (string, error) {
	r, release, err := b.shared(ctx, topic)
	if err != nil {
		return position, err
	}
	defer release()
	first, at, err := r.parse(topic, position)
	if err != nil {
		return position, err
	}
	for i := first; i < len(r.queues); i++ {
		if at == notLookedUp {
			if at, err = r.offset(r.queues[i], from); err != nil {
				return r.position(topic, i, notLookedUp), err
			}
		}
		if at, err = r.replay(ctx, r.queues[i], at, from, to, f); err != nil {
			return r.position(topic, i, at), err
		}
		at = notLookedUp
	}
	return "", nil
}

// notLookedUp stands for the offset of the first message of a span until it has been looked up.
const notLookedUp = -1

// replay reads q from the offset at to the first message that was stored after to, and returns the offset to continue at.
func (r *reader) replay(ctx context.Context, q *primitive.MessageQueue, at int64, from, to time.Time, f func(mq.Delivery) error) (int64, error) {
	last, err := r.end(q)
	if err == nil && at > last {
		return at, fmt.Errorf("%w: the queue ends before the position: the broker has lost messages, begin anew", mq.ErrRefused)
	}
	for err == nil && at < last {
		if ctx.Err() != nil {
			return at, ctx.Err()
		}
		var (
			ms    []*primitive.MessageExt
			after int64
		)
		if ms, after, err = r.pull(ctx, q, at); err != nil {
			break
		}
		for _, m := range ms {
			switch took := time.UnixMilli(m.StoreTimestamp); {
			case took.After(to):
				return last, nil
			case took.Before(from.Truncate(time.Millisecond)):
				continue
			}
			if err := f(mq.Received(m.MsgId, m.Body)); err != nil {
				return m.QueueOffset, err
			}
		}
		at = after
	}
	return at, err
}

// position returns the position of an offset in queue i. parse reads it.
func (r *reader) position(topic string, i int, at int64) string {
	q := r.queues[i]
	return fmt.Sprintf("%s/%s/%d/%d", topic, q.BrokerName, q.QueueId, at)
}

// parse reads a position of the same topic. An empty one is the beginning of the first queue.
func (r *reader) parse(topic, position string) (i int, at int64, err error) {
	if position == "" {
		return 0, notLookedUp, nil
	}
	j := strings.LastIndexByte(position, '/')
	at, err = strconv.ParseInt(position[j+1:], 10, 64)
	for i := range r.queues {
		if err == nil && at >= notLookedUp && r.position(topic, i, at) == position {
			return i, at, nil
		}
	}
	return 0, 0, fmt.Errorf("%w: %q is no position of topic %s", mq.ErrRefused, position, topic)
}
