// Command order owns orders, opens the payment transaction and is one of its participants.
package main

import (
	"context"

	inventoryv1 "example.com/fourfold/api/inventory/v1"
	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/idempotency"
	"example.com/fourfold/chassis/messaging"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/order/internal/catalogue"
	"example.com/fourfold/order/internal/delivery"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/participant"
	"example.com/fourfold/order/internal/rpc"
	"example.com/fourfold/order/migrations"
)

func main() { service.Main("order", defaults, serve, generation) }

// generation is the command "order generation".
var generation = messaging.GenerationCommand(func(c config) database.Config { return c.MySQL }, migrations.FS,
	mq.Numbered{Table: "orders", Number: "event_seq", Base: "event_base"})

// serve runs the service until ctx ends or the process is told to stop.
func serve(ctx context.Context, cfg config) error {
	peers, err := cfg.peers()
	if err != nil {
		return err
	}
	svc, err := service.New("order", cfg.Config, tcc.ServerOption())
	if err != nil {
		return err
	}
	defer svc.Close()
	db, err := svc.Database(cfg.MySQL, migrations.FS, append(messaging.Tables(), tcc.Tables())...)
	if err != nil {
		return err
	}
	msgs, err := messaging.Open(svc, db, cfg.MQ, cfg.Keep.Messages)
	if err != nil {
		return err
	}
	branches, err := tcc.OpenBranches(svc, db, msgs.Alerts, "order", cfg.BranchKeys, cfg.Keep.Barrier)
	if err != nil {
		return err
	}
	orders := mysql.NewStore(db, msgs.Outbox)
	initiator, err := cfg.initiator(svc, branches, orders, peers, msgs.Alerts)
	if err != nil {
		return err
	}
	answers, err := idempotency.Open(svc, db, cfg.Keep.Answers)
	if err != nil {
		return err
	}
	prices := inventoryv1.NewCatalogueClient(peers.Conn(participant.Inventory))
	orderv1.RegisterOrdersServer(svc.GRPC, rpc.NewOrders(orders, prices, initiator, answers, cfg.OrderTTL, cfg.OpenOrders))
	cfg.reconcile(svc, branches, orders, peers, msgs.Alerts)
	msgs.Consume(delivery.Subscription(), delivery.New(orders).Handle)
	msgs.Consume(catalogue.Subscription(), catalogue.New(orders).Handle)
	svc.Go(orders.RunTimers)
	return svc.Run(ctx)
}
