package mq

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"example.com/fourfold/chassis/failpoint"
	"example.com/fourfold/chassis/mysql"
)

// bornProperty is when a half message was made, in milliseconds of the database's clock.
const bornProperty = "born"

// halfProducer gives the started producer of half messages.
func (o *Outbox) halfProducer() (rocketmq.TransactionProducer, error) {
	o.halves.mu.Lock()
	defer o.halves.mu.Unlock()
	if o.halves.producer != nil {
		return o.halves.producer, nil
	}
	p, err := rocketmq.NewTransactionProducer(listenerOf{o}, o.broker.producerOptions("half")...)
	if err != nil {
		return nil, err
	}
	if err := p.Start(); err != nil {
		return nil, err
	}
	o.halves.producer = p
	return p, nil
}

// Answer is background work that lets the broker ask this process about half messages that others of its service left behind, until ctx
// ends: a process that publishes in transactions runs it. The broker asks only those from whom it has had a message, so one is sent
// and rolled back. topic is any of the service's.
func (o *Outbox) Answer(topic string) func(context.Context) error {
	return func(ctx context.Context) error {
		for n := 1; ctx.Err() == nil; n++ {
			err := o.announce(ctx, topic)
			if err == nil {
				break
			}
			slog.WarnContext(ctx, "announce to the broker", "topic", topic, "err", err)
			sleep(ctx, grow(n, 200*time.Millisecond, 5*time.Second))
		}
		<-ctx.Done()
		o.halves.mu.Lock()
		defer o.halves.mu.Unlock()
		if o.halves.producer != nil {
			_ = o.halves.producer.Shutdown()
			o.halves.producer = nil
		}
		return nil
	}
}

func (o *Outbox) announce(ctx context.Context, topic string) error {
	p, err := o.halfProducer()
	if err != nil {
		return err
	}
	m, err := message(topic, Event{ID: NewID(), Source: "/" + o.broker.cfg.Service, Type: "announcement"})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.broker.cfg.Timeout)
	defer cancel()
	_, err = p.SendMessageInTransaction(ctx, m) // nobody wants it: it is rolled back
	return err
}

// listenerOf is what the client calls.
type listenerOf struct{ *Outbox }

// ExecuteLocalTransaction is called in the goroutine that sends, behind the half message.
func (l listenerOf) ExecuteLocalTransaction(m *primitive.Message) primitive.LocalTransactionState {
	f, ok := l.halves.locals.Load(m.GetProperty("id"))
	if !ok {
		return primitive.RollbackMessageState
	}
	return f.(func() primitive.LocalTransactionState)()
}

// CheckLocalTransaction answers the broker, in time and whatever happens: one goroutine of the client's asks for all, and a panic in it
// would end the process.
func (l listenerOf) CheckLocalTransaction(m *primitive.MessageExt) primitive.LocalTransactionState {
	ctx, cancel := context.WithTimeout(context.Background(), l.cfg.CheckTimeout)
	defer cancel()
	type answer struct {
		state primitive.LocalTransactionState
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		a := answer{primitive.UnkonwnState, errors.New("no answer")}
		defer func() {
			if p := recover(); p != nil {
				a = answer{primitive.UnkonwnState, fmt.Errorf("panic: %v", p)}
			}
			answers <- a
		}()
		if a.err = failpoint.Hit(ctx, "mq/check"); a.err == nil {
			a.state, a.err = l.check(ctx, m.Topic, m.GetProperty("id"), m.GetProperty(bornProperty))
		}
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			slog.WarnContext(ctx, "check-back", "event", m.GetProperty("id"), "err", a.err)
			return primitive.UnkonwnState
		}
		return a.state
	case <-ctx.Done():
		slog.WarnContext(ctx, "check-back: the database does not answer in time", "event", m.GetProperty("id"))
		return primitive.UnkonwnState
	}
}

// check decides by the outbox row. One that is not there may still come, until the half is older than the longest local transaction: then
// a tombstone takes its place, so that it never comes, and the half is rolled back.
func (o *Outbox) check(ctx context.Context, topic, id, born string) (primitive.LocalTransactionState, error) {
	at, err := strconv.ParseInt(born, 10, 64)
	if id == "" || err != nil {
		return primitive.RollbackMessageState, nil // not one of ours, or an announcement
	}
	state, err := o.stateOf(ctx, id)
	if errors.Is(err, sql.ErrNoRows) {
		var age int64
		if err := o.db.QueryRowContext(ctx, "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED) - ?", at).Scan(&age); err != nil {
			return primitive.UnkonwnState, err
		}
		if time.Duration(age)*time.Millisecond <= o.cfg.LongestTx {
			return primitive.UnkonwnState, nil
		}
		_, err = o.db.ExecContext(ctx, `INSERT INTO mq_outbox (event_id, topic, subject, event, state, closed_at)
			VALUES (?, ?, '', '', 'VOID', NOW(3))`, id, topic)
		switch {
		case err == nil:
			return primitive.RollbackMessageState, nil
		case !mysql.Duplicate(err):
			return primitive.UnkonwnState, err
		}
		state, err = o.stateOf(ctx, id) // it came after all
	}
	switch {
	case err != nil:
		return primitive.UnkonwnState, err
	case state == stateVoid:
		return primitive.RollbackMessageState, nil
	}
	return primitive.CommitMessageState, nil
}

func (o *Outbox) stateOf(ctx context.Context, id string) (state string, err error) {
	err = o.db.QueryRowContext(ctx, "SELECT state FROM mq_outbox WHERE event_id = ?", id).Scan(&state)
	return state, err
}
