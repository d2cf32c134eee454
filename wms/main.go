// Command wms owns the warehouse's delivery slips, and is a participant of the payment transaction.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	wmsv1 "example.com/fourfold/api/wms/v1"
	"example.com/fourfold/chassis/mysql"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/tcc"
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
	keys, err := tcc.ParseKeys(cfg.BranchKeys)
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

	svc, err := service.New("wms", cfg.Config)
	if err != nil {
		return err
	}
	svc.Ready("mysql", db.PingContext)
	slips := store.NewStore(db)
	wmsv1.RegisterWarehouseServer(svc.GRPC, rpc.NewWarehouse(slips))
	wmsv1.RegisterDeliverySlipServer(svc.GRPC, slip.New(tcc.NewParticipant("wms", db, keys), slips))
	return svc.Run(ctx)
}
