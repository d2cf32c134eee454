package main

import (
	"context"
	"database/sql"
	"time"

	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/messages"
	"example.com/fourfold/chassis/mq/rocketmq"
	"example.com/fourfold/chassis/mysql"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/order/internal/catalogue"
	"example.com/fourfold/order/internal/delivery"
	store "example.com/fourfold/order/internal/mysql"
)

// exchange is how order publishes, consumes, and calls people.
type exchange struct {
	db     *sql.DB
	broker *rocketmq.Broker
	bus    *mq.Bus
	outbox *mq.Outbox
	alerts *alert.Alerts
}

// tables are what an exchange needs in its database.
func tables() []mysql.Part { return []mysql.Part{mq.Tables(), alert.Tables()} }

// newExchange is over db. The broker may be away; broker.Close is the caller's.
func newExchange(cfg rocketmq.Config, db *sql.DB) (*exchange, error) {
	broker, err := rocketmq.Dial("order", cfg)
	if err != nil {
		return nil, err
	}
	bus := mq.NewBus("order", broker, cfg.Config)
	outbox := mq.NewOutbox(db, bus, mq.OutboxConfig{})
	return &exchange{db, broker, bus, outbox, alert.New(outbox, db, "order")}, nil
}

// run lets svc publish what the outbox holds, consume what others tell, close orders at their time, and show what is open. keep is how long
// closed rows of messages are kept.
func (x *exchange) run(svc *service.Service, orders *store.Store, keep time.Duration) error {
	if err := mq.Observe(x.db); err != nil {
		return err
	}
	mqv1.RegisterMessagesServer(svc.GRPC, messages.NewServer("order", x.db, x.bus, x.outbox, keep))
	svc.Go(x.outbox.Relay)
	svc.Go(x.alerts.Watch)
	svc.Go(orders.RunTimers)
	svc.Go(x.consume(delivery.Subscription(), delivery.New(orders).Handle))
	svc.Go(x.consume(catalogue.Subscription(), catalogue.New(orders).Handle))
	return nil
}

func (x *exchange) consume(s mq.Subscription, handle mq.Handler) func(context.Context) error {
	return func(ctx context.Context) error { return x.bus.Consume(ctx, x.db, s, handle) }
}
