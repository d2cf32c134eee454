package rocketmq

import (
	"context"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"example.com/fourfold/chassis/mq"
)

const pullBatch = 32

// Listen implements mq.Transport. It starts a consumer of s.Group as soon as the topic exists, and stops it in an orderly way when ctx ends.
func (b *Broker) Listen(ctx context.Context, s mq.Subscription, take func(mq.Delivery) bool) error {
	l := &listener{}
	slots := make(chan struct{}, s.Workers)
	c, err := startPush(ctx, b.names, patience(ctx, "consumer waits for its topic", s.Topic, "group", s.Group), s.Topic, selector(s),
		func(_ context.Context, ms ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
			// Neither result that a handler can return leaves the message as it is. Ending the goroutine does, and the client cleans up after
			// it.
			if !l.enter() {
				runtime.Goexit()
			}
			defer l.inside.Done()
			if !takeAll(ms, slots, take) {
				runtime.Goexit()
			}
			return consumer.ConsumeSuccess, nil
		},
		consumer.WithGroupName(s.Group),
		consumer.WithInstance(b.instance("consumer")),
		consumer.WithCredentials(clientCredentials(b.sign)),
		consumer.WithConsumerModel(consumer.Clustering),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
		consumer.WithPullBatchSize(pullBatch),
		consumer.WithConsumeMessageBatchMaxSize(pullBatch),
		consumer.WithConsumeGoroutineNums(4*s.Workers),
	)
	if ctx.Err() != nil && c == nil {
		return nil
	}
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-b.master.change():
			_ = c.Start() // from the second time on it only asks for the route, and tells the broker of itself
		}
	}
	l.close()
	_ = c.Shutdown()
	return nil
}

// patience returns how long consumers and readers wait for their topic, and what they log meanwhile.
func patience(ctx context.Context, what, topic string, more ...any) wait {
	return wait{longest: 5 * time.Second, tried: func(err error) {
		slog.WarnContext(ctx, what, append([]any{"topic", topic, "err", err}, more...)...)
	}}
}

// listener admits deliveries until it is closed. The client may deliver any message again, in any order.
type listener struct {
	mu     sync.Mutex
	closed bool
	inside sync.WaitGroup
}

// takeAll takes the messages of each subject in order, and different subjects at the same time. It reports whether all are settled.
func takeAll(ms []*primitive.MessageExt, slots chan struct{}, take func(mq.Delivery) bool) bool {
	ds := make([]mq.Delivery, len(ms))
	for i, m := range ms {
		ds[i] = mq.Received(m.MsgId, m.Body)
	}
	return mq.TakeAll(ds, slots, take)
}

// enter reports whether a delivery may begin; inside.Done ends it.
func (l *listener) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.inside.Add(1)
	return true
}

// close admits no more deliveries and waits for those under way.
func (l *listener) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.inside.Wait()
}

// selector returns what the broker filters by.
func selector(s mq.Subscription) consumer.MessageSelector {
	tags := strings.Join(s.Types, " || ")
	switch {
	case s.Filter == "" && tags == "":
		return consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}
	case s.Filter == "":
		return consumer.MessageSelector{Type: consumer.TAG, Expression: tags}
	case tags == "":
		return consumer.MessageSelector{Type: consumer.SQL92, Expression: s.Filter}
	}
	return consumer.MessageSelector{Type: consumer.SQL92,
		Expression: "(type IN ('" + strings.Join(s.Types, "','") + "')) AND (" + s.Filter + ")"}
}
