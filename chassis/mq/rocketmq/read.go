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

// reader reads the queues of a topic at given offsets, and leaves no trace of what it has read.
type reader struct {
	consumer rocketmq.PullConsumer
	queues   []*primitive.MessageQueue // inOrder
}

// reader starts a reader as soon as the topic exists. It returns nil when ctx ended before.
func (b *Broker) reader(ctx context.Context, topic string) (*reader, error) {
	c, queues, err := startPull(ctx, b.names, patience(ctx, "reader waits for its topic", topic), topic,
		consumer.WithGroupName(b.service+"-reader"), consumer.WithInstance(b.instance("reader")), consumer.WithCredentials(clientCredentials(b.sign)))
	if err != nil && ctx.Err() != nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &reader{c, inOrder(queues)}, nil
}

// sharedReader is the reader of a topic that all replays use, one after another: a reader for each would leave goroutines behind.
type sharedReader struct {
	ready  chan struct{} // closed when reader is set; it is nil when it could not be started, or the Broker was closed
	reader *reader
	busy   chan struct{} // full while a replay reads
}

// shared returns the reader of topic, with the queues that the topic has now, and a function that releases it to the next caller. It returns
// ErrUnavailable when that takes longer than a send may, for example while the topic does not exist.
func (b *Broker) shared(ctx context.Context, topic string) (r *reader, release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	s := b.share(topic)
	select {
	case <-s.ready:
	case <-ctx.Done():
		if err := b.names.permitted(context.WithoutCancel(ctx), topic); err != nil {
			return nil, nil, unavailable(err)
		}
		return nil, nil, fmt.Errorf("%w: no name server knows topic %s", mq.ErrUnavailable, topic)
	}
	if s.reader == nil {
		return nil, nil, fmt.Errorf("%w: the topic cannot be read now", mq.ErrUnavailable)
	}
	select {
	case s.busy <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("%w: topic %s is being read by somebody else", mq.ErrUnavailable, topic)
	}
	queues, err := s.reader.consumer.GetTopicRouteInfo(topic)
	if err != nil || len(queues) == 0 {
		<-s.busy
		return nil, nil, fmt.Errorf("%w: topic %s has no queues now: %w", mq.ErrUnavailable, topic, err)
	}
	return &reader{s.reader.consumer, inOrder(queues)}, func() { <-s.busy }, nil
}

// share returns the sharedReader of topic, which lives as long as the Broker, and starts it when it is first asked for.
func (b *Broker) share(topic string) *sharedReader {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.readers[topic]
	if s == nil {
		s = &sharedReader{ready: make(chan struct{}), busy: make(chan struct{}, 1)}
		go func() {
			r, err := b.reader(b.life, topic)
			if err == nil {
				s.reader = r
			}
			close(s.ready) // before the lock: Close waits for this with the lock held
			if err != nil {
				b.mu.Lock()
				defer b.mu.Unlock()
				delete(b.readers, topic) // the next caller starts one anew
			}
		}()
		if b.readers != nil { // else the Broker is closed, and s will be too in a moment
			b.readers[topic] = s
		}
	}
	return s
}

func (r *reader) close() { _ = r.consumer.Shutdown() }

// end returns the offset after the last message of q.
func (r *reader) end(q *primitive.MessageQueue) (int64, error) {
	return r.offset(q, time.Now().Add(24*time.Hour))
}

// offset returns the offset of the first message of q that was stored at at or later.
func (r *reader) offset(q *primitive.MessageQueue, at time.Time) (int64, error) {
	offset, err := r.consumer.OffsetForTimestamp(q, at.UnixMilli())
	if err != nil {
		return 0, unavailable(err)
	}
	return max(offset, 0), nil
}

// pull reads messages of q from the offset at, which is not its end, and returns the offset to continue at.
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
