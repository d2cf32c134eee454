// Command notify tells members and operators by SMS and e-mail what happened.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	mqv1 "example.com/fourfold/api/mq/v1"
	notifyv1 "example.com/fourfold/api/notify/v1"
	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/messages"
	"example.com/fourfold/chassis/mq/rocketmq"
	"example.com/fourfold/chassis/mysql"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/notify/internal/events"
	store "example.com/fourfold/notify/internal/mysql"
	"example.com/fourfold/notify/internal/notification"
	"example.com/fourfold/notify/internal/rpc"
	"example.com/fourfold/notify/internal/sender"
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
	db, err := mysql.Open(cfg.MySQL)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	told := store.NewStore(db)
	retention, err1 := cfg.retention()
	times, err2 := cfg.times()
	operators, err3 := cfg.operators()
	email, err4 := cfg.emailProvider(told.DemoInbox())
	sms, err5 := cfg.smsProvider(told.DemoInbox())
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return err
	}
	if err := mysql.Migrate(ctx, db, migrations.FS, mq.Tables(), alert.Tables()); err != nil {
		return err
	}
	broker, err := rocketmq.Dial("notify", cfg.MQ)
	if err != nil {
		return err
	}
	defer broker.Close()
	bus := mq.NewBus("notify", broker, cfg.MQ.Config)
	outbox := mq.NewOutbox(db, bus, mq.OutboxConfig{}) // of alerts

	svc, err := service.New("notify", cfg.Config)
	if err != nil {
		return err
	}
	if err := mq.Observe(db); err != nil {
		return err
	}
	svc.Ready("mysql", db.PingContext)
	notifyv1.RegisterNotificationsServer(svc.GRPC, rpc.NewNotifications(told))
	mqv1.RegisterMessagesServer(svc.GRPC, messages.NewServer("notify", db, bus, outbox, cfg.Keep.Messages.D()))
	for _, c := range events.New(told, operators, cfg.Stale.D()).Consumers() {
		svc.Go(func(ctx context.Context) error { return bus.Consume(ctx, db, c.Subscription, c.Handle) })
	}
	svc.Go(sender.New(told, notification.Email, email, times).Run)
	svc.Go(sender.New(told, notification.SMS, sms, times).Run)
	alerts := alert.New(outbox, db, "notify")
	svc.Go(outbox.Relay)
	svc.Go(alerts.Watch)
	svc.Go(sender.Watch(told, alerts))
	svc.Go(mysql.Retain(db, retention...))
	return svc.Run(ctx)
}
