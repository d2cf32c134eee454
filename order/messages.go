package main

import (
	"context"
	"database/sql"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/order/internal/catalogue"
	"example.com/fourfold/order/internal/delivery"
	store "example.com/fourfold/order/internal/mysql"
)

// exchange lets svc publish what outbox holds and consume what others tell.
func exchange(svc *service.Service, db *sql.DB, broker *mq.Broker, outbox *mq.Outbox, orders *store.Store) error {
	if err := mq.Observe(db); err != nil {
		return err
	}
	svc.Go(outbox.Relay)
	svc.Go(func(ctx context.Context) error {
		return broker.Consume(ctx, db, delivery.Subscription(), delivery.New(orders).Handle)
	})
	svc.Go(func(ctx context.Context) error {
		return broker.Consume(ctx, db, catalogue.Subscription(), catalogue.New(orders).Handle)
	})
	svc.Go(orders.RunTimers)
	return nil
}
