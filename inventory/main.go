// Command inventory owns the catalogue and its stock, is a participant of the payment and refund transactions, and publishes what becomes
// of a product.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	booksv1 "example.com/fourfold/api/books/v1"
	inventoryv1 "example.com/fourfold/api/inventory/v1"
	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/books"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/messages"
	"example.com/fourfold/chassis/mq/rocketmq"
	"example.com/fourfold/chassis/mysql"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/inventory/internal/freeze"
	store "example.com/fourfold/inventory/internal/mysql"
	"example.com/fourfold/inventory/internal/restock"
	"example.com/fourfold/inventory/internal/rpc"
	"example.com/fourfold/inventory/migrations"
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
		fmt.Fprintln(os.Stderr, "inventory:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends or the process is told to stop.
func run(ctx context.Context, cfg config) error {
	keys, err := tcc.ParseKeys(cfg.BranchKeys)
	if err != nil {
		return err
	}
	retention, err := cfg.retention()
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

	broker, err := rocketmq.Dial("inventory", cfg.MQ)
	if err != nil {
		return err
	}
	defer broker.Close()
	bus := mq.NewBus("inventory", broker, cfg.MQ.Config)
	outbox := mq.NewOutbox(db, bus, mq.OutboxConfig{})

	svc, err := service.New("inventory", cfg.Config)
	if err != nil {
		return err
	}
	svc.Ready("mysql", db.PingContext)
	stock := store.NewStore(db, outbox)
	inventoryv1.RegisterCatalogueServer(svc.GRPC, rpc.NewCatalogue(stock))
	inventoryv1.RegisterStockFreezeServer(svc.GRPC, freeze.New(tcc.NewParticipant("inventory", db, keys), stock))
	inventoryv1.RegisterStockReturnServer(svc.GRPC, restock.New(tcc.NewParticipant("inventory-refund", db, keys), stock))
	booksv1.RegisterBooksServer(svc.GRPC, books.NewServer(keys, store.NewBooks(db)))
	mqv1.RegisterMessagesServer(svc.GRPC, messages.NewServer("inventory", db, bus, outbox, cfg.KeepMessages.D()))
	if err := mq.Observe(db); err != nil {
		return err
	}
	svc.Go(outbox.Relay)
	svc.Go(mysql.Retain(db, retention...))
	return svc.Run(ctx)
}
