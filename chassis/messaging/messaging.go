// Package messaging connects a service to the broker: to publish, to consume, and to alert its operators.
package messaging

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/audit"
	"example.com/fourfold/chassis/mq/failover"
	"example.com/fourfold/chassis/mq/operators"
	"example.com/fourfold/chassis/mq/rocketmq/remoting"
	"example.com/fourfold/chassis/service"
)

// Messaging is one service's connection.
type Messaging struct {
	// Outbox publishes in local transactions.
	Outbox *mq.Outbox
	// Alerts tell the operators.
	Alerts *alert.Alerts

	svc  *service.Service
	db   *sql.DB
	bus  *mq.Bus
	ways *failover.Transport
}

// Config is the part of a service's config.yaml about its messages.
type Config struct {
	Ways
	// Publishers are where the other services are reached whose events this one consumes, by name.
	Publishers map[string]string `yaml:"publishers"`
	// Audit says how often what they sent is compared with what came.
	Audit audit.Times `yaml:"audit"`
}

// Tables returns the tables that messaging needs in the service's database.
func Tables() []database.Part { return []database.Part{mq.Tables(), alert.Tables()} }

// Open connects svc, whose database is db. From Run on, svc relays its outbox, raises an alert while one of its groups has dead letters, answers
// its operators' questions about messages, compares what its groups received with what was sent, exposes metrics of all that, and deletes closed
// rows older than keep (at least mq.MinKeep, 0 for never). The broker may be away. Open fails on settings that can never work.
func Open(svc *service.Service, db *sql.DB, cfg Config, keep time.Duration) (*Messaging, error) {
	old, err := mq.Retentions(keep)
	if err != nil {
		return nil, fmt.Errorf("keep.messages: %w", err)
	}
	if cfg.Keys.None() {
		return nil, errors.New("mq.keys: the keys that events are signed with are missing: id:hex, the same in all services")
	}
	ways, err := Dial(svc, cfg.Ways)
	if err != nil {
		return nil, err
	}
	bus := mq.NewBus(svc.Name(), ways, cfg.Config.Config)
	outbox := mq.NewOutbox(db, bus, mq.OutboxConfig{Grace: cfg.HalfGrace})
	m := &Messaging{Outbox: outbox, Alerts: alert.New(outbox, db, svc.Name()), svc: svc, db: db, bus: bus, ways: ways}
	ways.Backfill(outbox.Backfill)
	if err := mq.Observe(db); err != nil {
		return nil, err
	}
	if err := m.audit(cfg); err != nil {
		return nil, err
	}
	mqv1.RegisterMessagesServer(svc.GRPC, operators.NewServer(svc.Name(), db, bus, outbox, ways, keep))
	svc.Go(outbox.Relay)
	svc.Go(m.Alerts.Watch)
	svc.Go(database.Retain(db, slices.Concat(old, alert.Retentions(keep))...))
	return m, nil
}

// audit lets other services audit what svc sent, and audits what it receives and asks for what it misses.
func (m *Messaging) audit(cfg Config) error {
	sent := audit.NewServer(cfg.Keys, m.db, m.Outbox)
	mqv1.RegisterSentServer(m.svc.GRPC, sent)
	publishers := map[string]mqv1.SentClient{m.svc.Name(): sent.Local()}
	for name, addr := range cfg.Publishers {
		conn, err := m.svc.Dial(addr)
		if err != nil {
			return fmt.Errorf("mq.publishers.%s: %w", name, err)
		}
		m.svc.OnClose(func() { _ = conn.Close() })
		publishers[name] = mqv1.NewSentClient(conn)
	}
	auditor := audit.New(m.db, m.bus, cfg.Keys, publishers, m.Alerts, cfg.Audit)
	m.svc.Go(auditor.Run)
	m.svc.Go(auditor.AskForGaps)
	return audit.Observe(m.db)
}

// Consume calls handle for the events of s, from Run on.
func (m *Messaging) Consume(s mq.Subscription, handle mq.Handler) {
	m.svc.Go(func(ctx context.Context) error { return m.bus.Consume(ctx, m.db, s, handle) })
}

// WatchWays raises alerts while the broker's disk is tight, while events go by Redis because it is away, and while Redis could not take
// them, from Run on, and exposes metrics of disk and queues. One service does that for all: the one that mails the alerts.
func (m *Messaging) WatchWays() error {
	m.svc.Go(m.Alerts.WatchDisk(m.ways, remoting.Tight, remoting.Full))
	m.svc.Go(m.Alerts.WatchMode(m.ways))
	return errors.Join(mq.ObserveDisk(m.ways), failover.ObserveQueues(m.ways))
}
