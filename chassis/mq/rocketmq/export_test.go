package rocketmq

import (
	"context"
	"net"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// CommittedHalves returns the ids of the events in topic whose messages came as half messages.
func (b *Broker) CommittedHalves(ctx context.Context, topic string) (ids []string, err error) {
	r, release, err := b.shared(ctx, topic)
	if err != nil {
		return nil, err
	}
	defer release()
	for _, q := range r.queues {
		last, err := r.end(q)
		if err != nil {
			return nil, err
		}
		for at := int64(0); at < last; {
			ms, next, err := r.pull(ctx, q, at)
			if err != nil {
				return nil, err
			}
			at = next
			for _, m := range ms {
				if m.GetProperty(bornProperty) != "" {
					ids = append(ids, m.GetProperty("id"))
				}
			}
		}
	}
	return ids, nil
}

// Names exports names.
type Names = names

// ParseNames parses host:port,….
func ParseNames(list string) (*Names, error) { return parseNames(list) }

// ParseMovingNames parses host:port,…; each host has the address that lookup returns.
func ParseMovingNames(list string, lookup func() (net.IP, error)) (*Names, error) {
	n, err := parseNames(list)
	n.lookup = func(context.Context, string, string) ([]net.IP, error) {
		ip, err := lookup()
		return []net.IP{ip}, err
	}
	return n, err
}

func soon(tried func(error)) wait { return wait{longest: 100 * time.Millisecond, tried: tried} }

// StartPush starts a consumer of topic that calls heard for each message.
func StartPush(ctx context.Context, n *Names, topic, group string, tried func(error), heard func(body string),
	options ...consumer.Option) (rocketmq.PushConsumer, error) {
	handle := func(_ context.Context, ms ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, m := range ms {
			heard(string(m.Body))
		}
		return consumer.ConsumeSuccess, nil
	}
	return startPush(ctx, n, soon(tried), topic, consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}, handle,
		append([]consumer.Option{consumer.WithGroupName(group), consumer.WithInstance(group),
			consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset)}, options...)...)
}

// StartPull starts a reader of topic.
func StartPull(ctx context.Context, n *Names, topic, group string, tried func(error)) (rocketmq.PullConsumer, []*primitive.MessageQueue, error) {
	return startPull(ctx, n, soon(tried), topic, consumer.WithGroupName(group), consumer.WithInstance(group))
}

// Waiting returns why a consumer of topic waits, nil when it would start.
func (b *Broker) Waiting(ctx context.Context, topic string) (why error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	_ = b.names.await(ctx, soon(func(err error) { why = err; stop() }), topic, b.names.permitted)
	return why
}
