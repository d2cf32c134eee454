// Command order owns orders, opens the payment transaction and is one of its participants.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"

	inventoryv1 "example.com/fourfold/api/inventory/v1"
	orderv1 "example.com/fourfold/api/order/v1"
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
	if err := mysql.Migrate(ctx, db, migrations.FS, tables()...); err != nil {
		return err
	}
	exchange, err := newExchange(cfg.MQ, db)
	if err != nil {
		return err
	}
	defer exchange.broker.Close()
	coordinator, err := tcc.Dial(cfg.Coordinator.GRPC, cfg.Coordinator.Admin, keys)
	if err != nil {
		return err
	}
	defer func() { _ = coordinator.Close() }()
	peers, err := cfg.dial()
	if err != nil {
		return err
	}
	svc, err := service.New("order", cfg.Config)
	if err != nil {
		return err
	}
	svc.Ready("mysql", db.PingContext)
	orders := store.NewStore(db, exchange.outbox)
	pay := payment.New(tcc.NewParticipant("order", db, keys), orders)
	refund := payment.NewRefund(tcc.NewParticipant("order-refund", db, keys), orders)
	initiator := checkout.New(orders, coordinator, pay, refund, cmp.Or(cfg.Peers.Own, cfg.GRPC.Addr),
		peers.inventory, peers.credit, peers.wms, cfg.payTimes())
	comparator := peers.comparator(orders, keys)
	orderv1.RegisterOrdersServer(svc.GRPC,
		rpc.NewOrders(orders, inventoryv1.NewCatalogueClient(peers.inventory.Conn), initiator, cfg.OrderTTL.D()))
	orderv1.RegisterOrderPaymentServer(svc.GRPC, pay)
	orderv1.RegisterOrderRefundServer(svc.GRPC, refund)
	orderv1.RegisterConservationServer(svc.GRPC, rpc.NewConservation(comparator))
	if err := exchange.run(svc, orders, cfg.Keep.Messages.D()); err != nil {
		return err
	}
	svc.Go(checkout.NewSweeper(orders, coordinator, exchange.alerts, cfg.sweepTimes()).Run)
	svc.Go(mysql.Retain(db, retention...))
	svc.Go(expiry.New(orders, cfg.Sweep.Every.D()).Run)
	svc.Go(conserve.NewWatch(comparator, orders, exchange.alerts, cfg.Conservation.Every.D(), cfg.Conservation.Open.D()).Run)
	return svc.Run(ctx)
}
