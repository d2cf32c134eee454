// Package mqtest is for tests that need no broker.
package mqtest

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"example.com/fourfold/chassis/mq"
)

// Absent returns service's outbox over db, with a broker that is not there: what is appended stays in its table. That is enough for tests of
// what a service writes.
func Absent(t testing.TB, db *sql.DB, service string) *mq.Outbox {
	t.Helper()
	return mq.NewOutbox(db, mq.NewBus(service, Away{}, mq.Config{}), mq.OutboxConfig{})
}

// Away is a transport whose broker is not there.
type Away struct{}

// Send fails with ErrUnavailable.
func (Away) Send(context.Context, string, mq.Event, time.Time) error { return mq.ErrUnavailable }

// Listen waits until ctx ends.
func (Away) Listen(ctx context.Context, _ mq.Subscription, _ func(mq.Delivery) bool) error {
	<-ctx.Done()
	return nil
}

// Tail waits until ctx ends.
func (Away) Tail(ctx context.Context, _ mq.View, _ func(context.Context, mq.Event)) error {
	<-ctx.Done()
	return nil
}

// Events returns what topic took since from, those of a subject in order.
func Events(ctx context.Context, h mq.History, topic string, from time.Time) (all []mq.Event, err error) {
	_, err = h.Replay(ctx, topic, from, time.Now(), "", func(d mq.Delivery) error {
		all = append(all, d.Event)
		return d.Broken
	})
	return all, err
}
