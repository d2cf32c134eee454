// Command inventory owns the catalogue and its stock, is a participant of the payment and refund transactions, and publishes changes of
// products.
package main

import (
	"context"

	inventoryv1 "example.com/fourfold/api/inventory/v1"
	ledgerv1 "example.com/fourfold/api/ledger/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/idempotency"
	"example.com/fourfold/chassis/ledger"
	"example.com/fourfold/chassis/messaging"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/inventory/internal/freeze"
	"example.com/fourfold/inventory/internal/mysql"
	"example.com/fourfold/inventory/internal/restock"
	"example.com/fourfold/inventory/internal/rpc"
	"example.com/fourfold/inventory/migrations"
)

func main() { service.Main("inventory", defaults, serve, generation) }

// generation is the command "inventory generation".
var generation = messaging.GenerationCommand(func(c config) database.Config { return c.MySQL }, migrations.FS,
	mq.Numbered{Table: "product", Number: "version", Base: "version_base"})

// serve runs the service until ctx ends or the process is told to stop.
func serve(ctx context.Context, cfg config) error {
	svc, err := service.New("inventory", cfg.Config, tcc.ServerOption())
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
	answers, err := idempotency.Open(svc, db, cfg.Keep.Answers)
	if err != nil {
		return err
	}
	stock := mysql.NewStore(db, msgs.Outbox)
	inventoryv1.RegisterCatalogueServer(svc.GRPC, rpc.NewCatalogue(stock, answers))
	inventoryv1.RegisterStockFreezeServer(tcc.Registrar(svc.GRPC), freeze.New(branches.Participant("inventory"), stock))
	inventoryv1.RegisterStockReturnServer(tcc.Registrar(svc.GRPC), restock.New(branches.Participant("inventory-refund"), stock))
	ledgerv1.RegisterLedgerServer(svc.GRPC, ledger.NewServer(branches.Keys, mysql.NewLedger(db)))
	return svc.Run(ctx)
}
