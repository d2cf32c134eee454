// Command inventory owns the catalogue and its stock, and is a participant of the payment and refund transactions.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	booksv1 "example.com/fourfold/api/books/v1"
	inventoryv1 "example.com/fourfold/api/inventory/v1"
	"example.com/fourfold/chassis/books"
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
	barrier, err := tcc.BarrierRetention(cfg.KeepBarrier.D())
	if err != nil {
		return err
	}
	db, err := mysql.Open(cfg.MySQL)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if err := mysql.Migrate(ctx, db, migrations.FS); err != nil {
		return err
	}

	svc, err := service.New("inventory", cfg.Config)
	if err != nil {
		return err
	}
	svc.Ready("mysql", db.PingContext)
	stock := store.NewStore(db)
	inventoryv1.RegisterCatalogueServer(svc.GRPC, rpc.NewCatalogue(stock))
	inventoryv1.RegisterStockFreezeServer(svc.GRPC, freeze.New(tcc.NewParticipant("inventory", db, keys), stock))
	inventoryv1.RegisterStockReturnServer(svc.GRPC, restock.New(tcc.NewParticipant("inventory-refund", db, keys), stock))
	booksv1.RegisterBooksServer(svc.GRPC, books.NewServer(keys, store.NewBooks(db)))
	svc.Go(mysql.Retain(db, barrier))
	return svc.Run(ctx)
}
