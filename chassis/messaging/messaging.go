// Package messaging connects a service to the broker: to publish, to consume, and to alert its operators.
package messaging

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/operators"
	"example.com/fourfold/chassis/mq/rocketmq"
	"example.com/fourfold/chassis/service"
)

// Messaging is one service's connection.
type Messaging struct {
	// Outbox publishes in local transactions.
	Outbox *mq.Outbox
	// Alerts tell the operators.
	Alerts *alert.Alerts

	svc *service.Service
	db  *sql.DB
	bus *mq.Bus
}

// Tables returns the tables that messaging needs in the service's database.
func Tables() []database.Part { return []database.Part{mq.Tables(), alert.Tables()} }

// Open connects svc, whose database is db. From Run on, svc relays its outbox, raises an alert while one of its groups has dead letters, answers
// its operators' questions about messages, exposes metrics of them, and deletes closed rows older than keep (at least mq.MinKeep, 0 for never).
// The broker may be away. Open fails on settings that can never work.
func Open(svc *service.Service, db *sql.DB, cfg rocketmq.Config, keep time.Duration) (*Messaging, error) {
	old, err := mq.Retentions(keep)
	if err != nil {
		return nil, fmt.Errorf("keep.messages: %w", err)
	}
	broker, err := rocketmq.Dial(svc.Name(), cfg)
	if err != nil {
		return nil, fmt.Errorf("mq: %w", err)
	}
	svc.OnClose(broker.Close)
	generation, err := mq.CurrentGeneration(context.Background(), db)
	if err != nil {
		return nil, err
	}
	bus := mq.NewBus(svc.Name(), broker, cfg.Config)
	outbox := mq.NewOutbox(db, bus, mq.OutboxConfig{Grace: cfg.HalfGrace, Generation: generation})
	m := &Messaging{Outbox: outbox, Alerts: alert.New(outbox, db, svc.Name()), svc: svc, db: db, bus: bus}
	if err := mq.Observe(db); err != nil {
		return nil, err
	}
	mqv1.RegisterMessagesServer(svc.GRPC, operators.NewServer(svc.Name(), db, bus, outbox, keep))
	svc.Go(outbox.Relay)
	svc.Go(m.Alerts.Watch)
	svc.Go(database.Retain(db, slices.Concat(old, alert.Retentions(keep))...))
	return m, nil
}

// Consume calls handle for the events of s, from Run on.
func (m *Messaging) Consume(s mq.Subscription, handle mq.Handler) {
	m.svc.Go(func(ctx context.Context) error { return m.bus.Consume(ctx, m.db, s, handle) })
}
