// Command wms owns the warehouse's delivery slips, is a participant of the payment and refund transactions, and publishes changes of deliveries.
package main

import (
	"context"

	ledgerv1 "example.com/fourfold/api/ledger/v1"
	wmsv1 "example.com/fourfold/api/wms/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/ledger"
	"example.com/fourfold/chassis/messaging"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/wms/internal/hold"
	"example.com/fourfold/wms/internal/mysql"
	"example.com/fourfold/wms/internal/rpc"
	"example.com/fourfold/wms/internal/slip"
	"example.com/fourfold/wms/migrations"
)

func main() { service.Main("wms", defaults, serve, generation) }

// generation is the command "wms generation".
var generation = messaging.GenerationCommand(func(c config) database.Config { return c.MySQL }, migrations.FS,
	mq.Numbered{Table: "delivery_slip", Number: "event_seq", Base: "event_base"})

// serve runs the service until ctx ends or the process is told to stop.
func serve(ctx context.Context, cfg config) error {
	svc, err := service.New("wms", cfg.Config, tcc.ServerOption())
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
	slips := mysql.NewStore(db, msgs.Outbox)
	wmsv1.RegisterWarehouseServer(svc.GRPC, rpc.NewWarehouse(slips))
	wmsv1.RegisterDeliverySlipServer(tcc.Registrar(svc.GRPC), slip.New(branches.Participant("wms"), slips))
	wmsv1.RegisterSlipHoldServer(tcc.Registrar(svc.GRPC), hold.New(branches.Participant("wms-refund"), slips))
	ledgerv1.RegisterLedgerServer(svc.GRPC, ledger.NewServer(branches.Keys, mysql.NewLedger(db)))
	return svc.Run(ctx)
}
