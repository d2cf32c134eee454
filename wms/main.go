// Command wms owns the warehouse's delivery slips, is a participant of the payment and refund transactions, and publishes changes of deliveries.
package main

import (
	"context"

	booksv1 "example.com/fourfold/api/books/v1"
	wmsv1 "example.com/fourfold/api/wms/v1"
	"example.com/fourfold/chassis/books"
	"example.com/fourfold/chassis/messaging"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/wms/internal/hold"
	store "example.com/fourfold/wms/internal/mysql"
	"example.com/fourfold/wms/internal/rpc"
	"example.com/fourfold/wms/internal/slip"
	"example.com/fourfold/wms/migrations"
)

func main() { service.Main("wms", defaults, serve) }

// serve runs the service until ctx ends or the process is told to stop.
func serve(ctx context.Context, cfg config) error {
	svc, err := service.New("wms", cfg.Config)
	if err != nil {
		return err
	}
	defer svc.Close()
	db, err := svc.Database(cfg.MySQL, migrations.FS, messaging.Tables()...)
	if err != nil {
		return err
	}
	msgs, err := messaging.Open(svc, db, cfg.MQ, cfg.Keep.Messages)
	if err != nil {
		return err
	}
	branches, err := tcc.OpenBranches(svc, db, "order", cfg.BranchKeys, cfg.Keep.Barrier)
	if err != nil {
		return err
	}
	slips := store.NewStore(db, msgs.Outbox)
	wmsv1.RegisterWarehouseServer(svc.GRPC, rpc.NewWarehouse(slips))
	wmsv1.RegisterDeliverySlipServer(svc.GRPC, slip.New(branches.Participant("wms"), slips))
	wmsv1.RegisterSlipHoldServer(svc.GRPC, hold.New(branches.Participant("wms-refund"), slips))
	booksv1.RegisterBooksServer(svc.GRPC, books.NewServer(branches.Keys, store.NewBooks(db)))
	return svc.Run(ctx)
}
