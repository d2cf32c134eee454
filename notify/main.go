// Command notify tells members and operators by SMS and e-mail what happened.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	notifyv1 "example.com/fourfold/api/notify/v1"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mysql"
	"example.com/fourfold/chassis/service"
	store "example.com/fourfold/notify/internal/mysql"
	"example.com/fourfold/notify/internal/rpc"
	"example.com/fourfold/notify/migrations"
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
		fmt.Fprintln(os.Stderr, "notify:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends or the process is told to stop.
func run(ctx context.Context, cfg config) error {
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
	svc, err := service.New("notify", cfg.Config)
	if err != nil {
		return err
	}
	if err := mq.Observe(db); err != nil {
		return err
	}
	svc.Ready("mysql", db.PingContext)
	notifyv1.RegisterNotificationsServer(svc.GRPC, rpc.NewNotifications(store.NewStore(db)))
	svc.Go(mysql.Retain(db, retention...))
	return svc.Run(ctx)
}
