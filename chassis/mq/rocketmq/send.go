package rocketmq

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/rocketmq/remoting"
)

// Send implements mq.Transport. When it returns nil, the broker has e on its disk.
func (b *Broker) Send(ctx context.Context, topic string, e mq.Event, at time.Time) error {
	m, err := message(topic, e)
	if err != nil {
		return err
	}
	if !at.IsZero() {
		deliverAt(m, at)
	}
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	p, err := b.plain.get(ctx)
	if err != nil {
		return err
	}
	result, err := p.SendSync(ctx, m)
	if err != nil && strings.Contains(err.Error(), "route info not found") {
		return b.noRoute(ctx, topic)
	}
	return b.master.told(outcome(result, err))
}

// noRoute returns why the client knows no broker for topic: an mq.ErrNoRoute, unless a name server says that there is no broker at all.
func (b *Broker) noRoute(ctx context.Context, topic string) error {
	if len(b.names.Resolve()) > 0 {
		if _, err := b.names.brokers(ctx, remoting.Brokers); errors.Is(err, errNoBroker) {
			return fmt.Errorf("%w: %w", mq.ErrUnavailable, err)
		}
	}
	return fmt.Errorf("%w: %s", mq.ErrNoRoute, topic)
}

// outcome returns the error of a send. For the client it is no error when the broker could not write the message to its disk in time.
func outcome(result *primitive.SendResult, err error) error {
	switch {
	case err != nil && strings.HasPrefix(err.Error(), "CODE: 13,"):
		return fmt.Errorf("%w: %w", mq.ErrRefused, err)
	case err != nil && strings.HasPrefix(err.Error(), "CODE: 16,"):
		return fmt.Errorf("%w: %w: %w", mq.ErrUnavailable, errNotPermitted, err) // not the event's fault
	case err != nil:
		return fmt.Errorf("%w: %w", mq.ErrUnavailable, err)
	case result.Status != primitive.SendOK:
		return fmt.Errorf("%w: send status %d", mq.ErrUnavailable, result.Status)
	}
	return nil
}
