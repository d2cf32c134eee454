package rocketmq

import (
	"context"
	"fmt"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"example.com/fourfold/chassis/mq"
)

// reader reads the queues of a topic where it is told to, and leaves no trace of what it has read.
type reader struct {
	consumer rocketmq.PullConsumer
	queues   []*primitive.MessageQueue // inOrder
	busy     chan struct{}             // holds whoever reads
}

// reader starts one as soon as there is a topic; nil when ctx ended before.
func (b *Broker) reader(ctx context.Context, topic string) (*reader, error) {
	c, queues, err := startPull(ctx, b.names, patience(ctx, "reader waits for its topic", topic), topic,
		consumer.WithGroupName(b.service+"-reader"), consumer.WithInstance(b.instance("reader")))
	if err != nil && ctx.Err() != nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &reader{c, inOrder(queues), make(chan struct{}, 1)}, nil
}

// kept returns the reader of topic that all replays share, one after another, and how to let the next one have it: a reader made for
// each would leave goroutines behind. ErrUnavailable when there is no topic within the time of a send.
func (b *Broker) kept(ctx context.Context, topic string) (r *reader, release func(), err error) {
	waiting, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	if r, err = b.keep(waiting, topic); err != nil {
		return nil, nil, err
	}
	select {
	case r.busy <- struct{}{}:
		return r, func() { <-r.busy }, nil
	case <-waiting.Done():
		return nil, nil, fmt.Errorf("%w: topic %s is being read by somebody else", mq.ErrUnavailable, topic)
	}
}

func (b *Broker) keep(ctx context.Context, topic string) (*reader, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.readers[topic] == nil {
		r, err := b.reader(ctx, topic)
		if err != nil {
			return nil, err
		}
		if r == nil {
			return nil, fmt.Errorf("%w: topic %s is not there", mq.ErrUnavailable, topic)
		}
		b.readers[topic] = r
	}
	return b.readers[topic], nil
}

func (r *reader) close() { _ = r.consumer.Shutdown() }

// end returns the offset after the last message of q.
func (r *reader) end(q *primitive.MessageQueue) (int64, error) {
	return r.offset(q, time.Now().Add(24*time.Hour))
}

// offset returns that of the first message of q that was stored at at or later.
func (r *reader) offset(q *primitive.MessageQueue, at time.Time) (int64, error) {
	offset, err := r.consumer.OffsetForTimestamp(q, at.UnixMilli())
	if err != nil {
		return 0, unavailable(err)
	}
	return max(offset, 0), nil
}

// pull reads what stands at an offset of q that is not its end. It returns the offset to go on at.
func (r *reader) pull(ctx context.Context, q *primitive.MessageQueue, at int64) ([]*primitive.MessageExt, int64, error) {
	result, err := r.consumer.PullFrom(ctx, q, at, pullBatch)
	switch {
	case err != nil:
		return nil, at, unavailable(err)
	case result.Status == primitive.PullFound:
		return result.GetMessageExts(), result.NextBeginOffset, nil
	case result.Status == primitive.PullBrokerTimeout:
		return nil, at, fmt.Errorf("%w: time-out", mq.ErrUnavailable)
	}
	return nil, result.NextBeginOffset, nil
}
