package rocketmq

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"example.com/fourfold/chassis/backoff"
	"example.com/fourfold/chassis/mq"
)

// bornProperty is when a half message was made, in milliseconds of the database's clock.
const bornProperty = "born"

// transactions sends the half messages of one outbox.
type transactions struct {
	broker   *Broker
	check    mq.Check
	producer lazy[rocketmq.TransactionProducer]
	locals   sync.Map // event id to func() mq.Verdict: what the client calls between half and end
}

// Transactions returns a sender with a producer of its own, which connects when it is first used.
func (b *Broker) Transactions(check mq.Check) mq.Transactions {
	t := &transactions{broker: b, check: check}
	t.producer.start = func() (rocketmq.TransactionProducer, error) {
		if err := b.resolved(); err != nil {
			return nil, err
		}
		p, err := rocketmq.NewTransactionProducer(t, b.producerOptions("half")...)
		if err == nil {
			err = p.Start()
		}
		return p, err
	}
	t.producer.shutdown = func(p rocketmq.TransactionProducer) { _ = p.Shutdown() }
	return t
}

// Half sends e as a half message, and local decides about it.
func (t *transactions) Half(ctx context.Context, topic string, e mq.Event, born time.Time, local func() mq.Verdict) error {
	m, err := message(topic, e)
	if err != nil {
		return err
	}
	m.WithProperty(bornProperty, strconv.FormatInt(born.UnixMilli(), 10))
	t.locals.Store(e.ID, local)
	defer t.locals.Delete(e.ID)
	return t.send(ctx, m)
}

func (t *transactions) send(ctx context.Context, m *primitive.Message) error {
	p, err := t.producer.get(ctx)
	if err != nil {
		return err
	}
	result, err := p.SendMessageInTransaction(ctx, m)
	if err != nil {
		return outcome(nil, err)
	}
	return outcome(result.SendResult, nil)
}

// Answer lets the broker ask. It asks only those from whom it has had a message, so one is sent and rolled back.
func (t *transactions) Answer(ctx context.Context, topic string) error {
	for n := 1; ctx.Err() == nil; n++ {
		err := t.announce(ctx, topic)
		if err == nil {
			break
		}
		slog.WarnContext(ctx, "announce to the broker", "topic", topic, "err", err)
		backoff.Sleep(ctx, backoff.Pause(n, 200*time.Millisecond, 5*time.Second))
	}
	<-ctx.Done()
	t.producer.stop()
	return nil
}

func (t *transactions) announce(ctx context.Context, topic string) error {
	m, err := message(topic, mq.Event{ID: mq.NewID(), Source: "/" + t.broker.service, Type: "announcement"})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, t.broker.timeout)
	defer cancel()
	return t.send(ctx, m) // nobody wants it: without a local transaction it is rolled back
}

// ExecuteLocalTransaction is what the client calls in the goroutine that sends, after the half message.
func (t *transactions) ExecuteLocalTransaction(m *primitive.Message) primitive.LocalTransactionState {
	local, ok := t.locals.Load(m.GetProperty("id"))
	if !ok {
		return primitive.RollbackMessageState
	}
	return state(local.(func() mq.Verdict)())
}

// CheckLocalTransaction is what the client calls when the broker asks, one message after another.
func (t *transactions) CheckLocalTransaction(m *primitive.MessageExt) primitive.LocalTransactionState {
	id := m.GetProperty("id")
	born, err := strconv.ParseInt(m.GetProperty(bornProperty), 10, 64)
	if id == "" || err != nil {
		return primitive.RollbackMessageState // not one of ours, or an announcement
	}
	return state(t.check(m.Topic, id, time.UnixMilli(born)))
}

// state is v in the client's words.
func state(v mq.Verdict) primitive.LocalTransactionState {
	switch v {
	case mq.Commit:
		return primitive.CommitMessageState
	case mq.Rollback:
		return primitive.RollbackMessageState
	}
	return primitive.UnkonwnState
}

// unavailable is an ErrUnavailable with its cause.
func unavailable(err error) error { return fmt.Errorf("%w: %w", mq.ErrUnavailable, err) }
