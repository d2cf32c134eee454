// Command wms owns the warehouse's delivery slips, is a participant of the payment and refund transactions, and
// publishes what becomes of a delivery.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	booksv1 "example.com/fourfold/api/books/v1"
	mqv1 "example.com/fourfold/api/mq/v1"
	wmsv1 "example.com/fourfold/api/wms/v1"
	"example.com/fourfold/chassis/books"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/messages"
	"example.com/fourfold/chassis/mq/rocketmq"
	"example.com/fourfold/chassis/mysql"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/wms/internal/hold"
	store "example.com/fourfold/wms/internal/mysql"
	"example.com/fourfold/wms/internal/rpc"
	"example.com/fourfold/wms/internal/slip"
	"example.com/fourfold/wms/migrations"
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
		fmt.Fprintln(os.Stderr, "wms:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends or the process is told to stop.
func run(ctx context.Context, cfg config) error {
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

	broker, err := rocketmq.Dial("wms", cfg.MQ)
	if err != nil {
		return err
	}
	defer broker.Close()
	bus := mq.NewBus("wms", broker, cfg.MQ.Config)
	outbox := mq.NewOutbox(db, bus, mq.OutboxConfig{})

	svc, err := service.New("wms", cfg.Config)
	if err != nil {
		return err
	}
	svc.Ready("mysql", db.PingContext)
	slips := store.NewStore(db, outbox)
	wmsv1.RegisterWarehouseServer(svc.GRPC, rpc.NewWarehouse(slips))
	wmsv1.RegisterDeliverySlipServer(svc.GRPC, slip.New(tcc.NewParticipant("wms", db, keys), slips))
	wmsv1.RegisterSlipHoldServer(svc.GRPC, hold.New(tcc.NewParticipant("wms-refund", db, keys), slips))
	booksv1.RegisterBooksServer(svc.GRPC, books.NewServer(keys, store.NewBooks(db)))
	mqv1.RegisterMessagesServer(svc.GRPC, messages.NewServer("wms", db, bus, outbox, cfg.KeepMessages.D()))
	if err := mq.Observe(db); err != nil {
		return err
	}
	svc.Go(outbox.Relay)
	svc.Go(mysql.Retain(db, retention...))
	return svc.Run(ctx)
}
