package rocketmq

import (
	"context"
	"fmt"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"example.com/fourfold/chassis/backoff"
)

// A consumer of the client leaves goroutines behind, whether its Start failed or it was shut down: those of its statistics, five that sleep for
// a minute, five for an hour and five for a month (https://github.com/apache/rocketmq-client-go/issues/1147). Nothing stops them. So a consumer
// is made only when its topic is known and its Start cannot fail, and it is never made again.

// consumeTimeout is how long another goroutine of the client may outlive its consumer. What that goroutine is for is switched off by unhurried.
const consumeTimeout = time.Minute

type handler = func(context.Context, ...*primitive.MessageExt) (consumer.ConsumeResult, error)

// startPush waits for topic, and to be permitted to read it, and returns a started consumer that hands its messages to handle. The error is ctx's,
// or says what is wrong with the options.
func startPush(ctx context.Context, n *names, w wait, topic string, selector consumer.MessageSelector, handle handler,
	options ...consumer.Option) (rocketmq.PushConsumer, error) {
	if err := n.await(ctx, w, topic, n.permitted); err != nil {
		return nil, err
	}
	ours := []consumer.Option{consumer.WithNsResolver(n), consumer.WithConsumeTimeout(consumeTimeout)}
	c, err := consumer.NewPushConsumer(append(ours, options...)...)
	if err != nil {
		return nil, fmt.Errorf("rocketmq: %w", err)
	}
	if err := c.Subscribe(topic, selector, unhurried(handle)); err != nil {
		return nil, fmt.Errorf("rocketmq: %w", err)
	}
	startWithoutRoute(c, topic)
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("rocketmq: %w", err)
	}
	return c, nil
}

// startPull waits for topic, and to be permitted to read it, and returns a started reader and the queues that it reads, at least one. The error
// is ctx's, or says what is wrong with the options.
func startPull(ctx context.Context, n *names, w wait, topic string, options ...consumer.Option) (rocketmq.PullConsumer,
	[]*primitive.MessageQueue, error) {
	if err := n.await(ctx, w, topic, n.permitted); err != nil {
		return nil, nil, err
	}
	c, err := consumer.NewPullConsumer(append([]consumer.Option{consumer.WithNsResolver(n)}, options...)...)
	if err != nil {
		return nil, nil, fmt.Errorf("rocketmq: %w", err)
	}
	if err := c.Assign(topic, nil); err != nil {
		return nil, nil, fmt.Errorf("rocketmq: %w", err)
	}
	startWithoutRoute(c, topic)
	for {
		if err := c.Start(); err != nil { // from the second time on it only asks for the route
			return nil, nil, fmt.Errorf("rocketmq: %w", err)
		}
		queues, err := c.GetTopicRouteInfo(topic)
		if err == nil && len(queues) > 0 {
			return c, queues, nil
		}
		w.tried(errNoRoute)
		if backoff.Sleep(ctx, w.longest); ctx.Err() != nil {
			_ = c.Shutdown()
			return nil, nil, ctx.Err()
		}
	}
}

// startWithoutRoute lets c start even if the name servers have gone away since they were asked. Start asks for the topic's route, and shuts c
// down for good when there is none. With a route without queues it goes on, and a consumer that has started asks again every 30 s.
func startWithoutRoute(c interface {
	UpdateTopicSubscribeInfo(topic string, queues []*primitive.MessageQueue)
}, topic string) {
	c.UpdateTopicSubscribeInfo(topic, nil)
}

// unhurried removes from each message the time at which its handling began. By that time the client finds that a handler takes too long, and
// would hand the message to the broker's own retries and dead letters.
func unhurried(handle handler) handler {
	return func(ctx context.Context, ms ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, m := range ms {
			m.RemoveProperty(primitive.PropertyConsumeStartTime)
		}
		return handle(ctx, ms...)
	}
}
