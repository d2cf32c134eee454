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

// Replay reads one queue after another. Its positions are a queue and an offset there.
func (b *Broker) Replay(ctx context.Context, topic string, from, to time.Time, position string, f func(mq.Delivery) error) (string, error) {
	r, release, err := b.kept(ctx, topic)
	if err != nil {
		return position, err
	}
	defer release()
	first, at, err := r.parse(position)
	if err != nil {
		return position, err
	}
	for i, q := range r.queues[first:] {
		if i > 0 || position == "" {
			if at, err = r.offset(q, from); err != nil {
				return r.position(first+i, 0), err
			}
		}
		if at, err = r.replay(ctx, q, at, from, to, f); err != nil {
			return r.position(first+i, at), err
		}
	}
	return "", nil
}

// replay reads q from an offset on, until a message that was stored after to. It returns the offset to go on at.
func (r *reader) replay(ctx context.Context, q *primitive.MessageQueue, at int64, from, to time.Time, f func(mq.Delivery) error) (int64, error) {
	last, err := r.end(q)
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

// position names an offset of queue i for parse.
func (r *reader) position(i int, at int64) string {
	q := r.queues[i]
	return fmt.Sprintf("%s/%d/%d", q.BrokerName, q.QueueId, at)
}

// parse reads what position wrote: the first queue's begin when it is empty.
func (r *reader) parse(position string) (i int, at int64, err error) {
	if position == "" {
		return 0, 0, nil
	}
	j := strings.LastIndexByte(position, '/')
	at, err = strconv.ParseInt(position[j+1:], 10, 64)
	for i := range r.queues {
		if err == nil && j > 0 && at >= 0 && strings.HasPrefix(r.position(i, 0), position[:j]+"/") {
			return i, at, nil
		}
	}
	return 0, 0, fmt.Errorf("%w: %q is no position of this topic", mq.ErrRefused, position)
}
