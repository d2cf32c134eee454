// Command order owns orders, opens the payment transaction and is one of its participants.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	inventoryv1 "example.com/fourfold/api/inventory/v1"
	mqv1 "example.com/fourfold/api/mq/v1"
	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/books"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/messages"
	"example.com/fourfold/chassis/mysql"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/order/internal/checkout"
	"example.com/fourfold/order/internal/conserve"
	"example.com/fourfold/order/internal/expiry"
	store "example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/payment"
	"example.com/fourfold/order/internal/rpc"
	"example.com/fourfold/order/migrations"
)

func main() {
	conf := flag.String("conf", "", "configuration file; the built-in one when empty")
	flag.Parse()
	var cfg config
	err := service.Load(*conf, defaults, &cfg)
	if err == nil {
		err = run(context.Background(), cfg)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "order:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends or the process is told to stop.
func run(ctx context.Context, cfg config) error {
	if err := cfg.check(); err != nil {
		return err
	}
	retention, err := cfg.retention()
	if err != nil {
		return err
	}
	keys, err := tcc.ParseKeys(cfg.BranchKeys)
	if err != nil {
		return err
	}
	db, err := mysql.Open(cfg.MySQL)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if err := mysql.Migrate(ctx, db, migrations.FS, mq.Tables()); err != nil {
		return err
	}
	cfg.MQ.Service = "order"
	broker, err := mq.Dial(cfg.MQ)
	if err != nil {
		return err
	}
	defer broker.Close()
	outbox := mq.NewOutbox(db, broker, mq.OutboxConfig{})
	coordinator, err := tcc.Dial(cfg.Coordinator.GRPC, cfg.Coordinator.Admin, keys)
	if err != nil {
		return err
	}
	defer func() { _ = coordinator.Close() }()
	inventory, inventoryErr := checkout.Dial(cfg.Peers.Inventory)
	credit, creditErr := checkout.Dial(cfg.Peers.Credit)
	wms, wmsErr := checkout.Dial(cfg.Peers.WMS)
	if err := errors.Join(inventoryErr, creditErr, wmsErr); err != nil {
		return err
	}

	svc, err := service.New("order", cfg.Config)
	if err != nil {
		return err
	}
	svc.Ready("mysql", db.PingContext)
	orders := store.NewStore(db, outbox)
	pay := payment.New(tcc.NewParticipant("order", db, keys), orders)
	refund := payment.NewRefund(tcc.NewParticipant("order-refund", db, keys), orders)
	initiator := checkout.New(orders, coordinator, pay, refund, cmp.Or(cfg.Peers.Own, cfg.GRPC.Addr), inventory, credit, wms, cfg.payTimes())
	sweeper := checkout.NewSweeper(orders, coordinator, cfg.sweepTimes())
	comparator := conserve.New(orders,
		books.NewClient(keys, inventory.Conn), books.NewClient(keys, credit.Conn), books.NewClient(keys, wms.Conn))
	orderv1.RegisterOrdersServer(svc.GRPC,
		rpc.NewOrders(orders, inventoryv1.NewCatalogueClient(inventory.Conn), initiator, cfg.OrderTTL.D()))
	orderv1.RegisterOrderPaymentServer(svc.GRPC, pay)
	orderv1.RegisterOrderRefundServer(svc.GRPC, refund)
	orderv1.RegisterConservationServer(svc.GRPC, rpc.NewConservation(comparator))
	mqv1.RegisterMessagesServer(svc.GRPC, messages.NewServer("order", db))
	if err := exchange(svc, db, broker, outbox, orders); err != nil {
		return err
	}
	svc.Go(sweeper.Run)
	svc.Go(mysql.Retain(db, retention...))
	svc.Go(expiry.New(orders, cfg.Sweep.Every.D()).Run)
	svc.Go(conserve.NewWatch(comparator, orders, cfg.Conservation.Every.D(), cfg.Conservation.Open.D()).Run)
	return svc.Run(ctx)
}
