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

// bornProperty holds when a half message was made, in milliseconds of the database's clock.
const bornProperty = "born"

// callProperty names the call of Half that a half message belongs to.
const callProperty = "call"

// transactions sends the half messages of one outbox.
type transactions struct {
	broker   *Broker
	check    mq.Check
	producer lazy[rocketmq.TransactionProducer]
	locals   sync.Map // event id to func() mq.Verdict, which the client calls between half and end message
}

// Transactions returns a sender with a producer of its own, which connects when it is first used.
func (b *Broker) Transactions(check mq.Check) mq.Transactions {
	t := &transactions{broker: b, check: check}
	t.producer.start, t.producer.change = t.start, b.master.change
	t.producer.shutdown = func(p rocketmq.TransactionProducer) { _ = p.Shutdown() }
	return t
}

// start returns a started producer of the service's half messages. The broker may ask any of them about all.
func (t *transactions) start() (rocketmq.TransactionProducer, error) {
	if err := t.broker.resolved(); err != nil {
		return nil, err
	}
	p, err := rocketmq.NewTransactionProducer(t, t.broker.producerOptions("half")...)
	if err == nil {
		err = p.Start()
	}
	return p, err
}

// Half implements mq.Transactions.
func (t *transactions) Half(ctx context.Context, topic string, e mq.Event, born time.Time, local func() mq.Verdict) error {
	m, err := message(topic, e)
	if err != nil {
		return err
	}
	m.WithProperty(bornProperty, strconv.FormatInt(born.UnixMilli(), 10))
	call := mq.NewID() // not the event's id: two calls may try to publish the same
	m.WithProperty(callProperty, call)
	t.locals.Store(call, local)
	defer t.locals.Delete(call)
	p, err := t.producer.get(ctx)
	if err != nil {
		return err
	}
	return t.broker.master.told(send(ctx, p, m))
}

func send(ctx context.Context, p rocketmq.TransactionProducer, m *primitive.Message) error {
	result, err := p.SendMessageInTransaction(ctx, m)
	if err != nil {
		return outcome(nil, err)
	}
	return outcome(result.SendResult, nil)
}

// Answer implements mq.Transactions by a producer of its own: the broker asks only producers that have sent it a heartbeat. A new master has to
// hear of it too.
func (t *transactions) Answer(ctx context.Context, topic string) error {
	defer t.producer.stop()
	for ctx.Err() == nil {
		moved := t.broker.master.change()
		if p := t.heard(ctx, topic); p != nil {
			select {
			case <-ctx.Done():
			case <-moved:
			}
			_ = p.Shutdown()
		}
	}
	return nil
}

// beforeHeartbeat is less than the first of these: the client sends heartbeats to the brokers that it knows by then:
// the first a second after its start, the next 30 s later.
const beforeHeartbeat = 800 * time.Millisecond

// heard returns a started producer whose first heartbeat reaches the broker, nil when ctx ended before. A producer learns of the broker by
// sending something, and one that took too long for that is replaced: otherwise the broker might ask about a dead process' half message only
// half a minute later.
func (t *transactions) heard(ctx context.Context, topic string) rocketmq.TransactionProducer {
	const most = 5 // each that is replaced leaves a goroutine behind
	for n := 1; ctx.Err() == nil; n++ {
		if t.broker.names.await(ctx, patience(ctx, "who answers for half messages waits for their topic", topic), topic) != nil {
			break
		}
		p, err := t.start()
		if err != nil {
			slog.WarnContext(ctx, "start a producer to answer for half messages", "topic", topic, "err", err)
			backoff.Sleep(ctx, backoff.Pause(n, 200*time.Millisecond, 5*time.Second))
			continue
		}
		if took := t.announceUntil(ctx, p, topic); ctx.Err() == nil && (took < beforeHeartbeat || n >= most) {
			return p
		}
		_ = p.Shutdown()
	}
	return nil
}

// announceUntil announces p to the broker until that succeeds or ctx ends, and returns how long it took.
func (t *transactions) announceUntil(ctx context.Context, p rocketmq.TransactionProducer, topic string) time.Duration {
	began := time.Now()
	for n := 1; ctx.Err() == nil; n++ {
		err := t.announce(ctx, p, topic)
		if err == nil {
			break
		}
		slog.WarnContext(ctx, "announce to the broker", "topic", topic, "err", err)
		backoff.Sleep(ctx, backoff.Pause(n, 200*time.Millisecond, 5*time.Second))
	}
	return time.Since(began)
}

func (t *transactions) announce(ctx context.Context, p rocketmq.TransactionProducer, topic string) error {
	m, err := message(topic, mq.Event{ID: mq.NewID(), Source: "/" + t.broker.service, Type: "announcement"})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, t.broker.timeout)
	defer cancel()
	return send(ctx, p, m) // it has no local transaction, so it is rolled back
}

// ExecuteLocalTransaction is called by the client in the goroutine that sends, after the half message.
func (t *transactions) ExecuteLocalTransaction(m *primitive.Message) primitive.LocalTransactionState {
	local, ok := t.locals.Load(m.GetProperty(callProperty))
	if !ok {
		return primitive.RollbackMessageState
	}
	return state(local.(func() mq.Verdict)())
}

// CheckLocalTransaction is called by the client when the broker asks, for one message after another.
func (t *transactions) CheckLocalTransaction(m *primitive.MessageExt) primitive.LocalTransactionState {
	id := m.GetProperty("id")
	born, err := strconv.ParseInt(m.GetProperty(bornProperty), 10, 64)
	if id == "" || err != nil {
		return primitive.RollbackMessageState // not one of ours, or an announcement
	}
	return state(t.check(m.Topic, id, time.UnixMilli(born)))
}

// state returns v as the client's type.
func state(v mq.Verdict) primitive.LocalTransactionState {
	switch v {
	case mq.Commit:
		return primitive.CommitMessageState
	case mq.Rollback:
		return primitive.RollbackMessageState
	}
	return primitive.UnkonwnState
}

// unavailable returns an ErrUnavailable that wraps err.
func unavailable(err error) error { return fmt.Errorf("%w: %w", mq.ErrUnavailable, err) }
