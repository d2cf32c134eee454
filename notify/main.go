// Command notify tells members and operators by SMS and e-mail what happened.
package main

import (
	"context"
	"fmt"

	_ "golang.org/x/crypto/x509roots/fallback" // in a container there are no certificates of authorities, which TLS of SMTP and SMS needs

	notifyv1 "example.com/fourfold/api/notify/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/messaging"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/notify/internal/events"
	"example.com/fourfold/notify/internal/mysql"
	"example.com/fourfold/notify/internal/notification"
	"example.com/fourfold/notify/internal/rpc"
	"example.com/fourfold/notify/internal/sender"
	"example.com/fourfold/notify/migrations"
)

func main() { service.Main("notify", defaults, serve) }

// serve runs the service until ctx ends or the process is told to stop.
func serve(ctx context.Context, cfg config) error {
	svc, err := service.New("notify", cfg.Config)
	if err != nil {
		return err
	}
	defer svc.Close()
	db, err := svc.Database(cfg.MySQL, migrations.FS, messaging.Tables()...)
	if err != nil {
		return err
	}
	notifications := mysql.NewStore(db)
	s, err := cfg.settings(notifications.DemoMailbox())
	if err != nil {
		return err
	}
	msgs, err := messaging.Open(svc, db, cfg.MQ, cfg.Keep.Messages)
	if err != nil {
		return err
	}
	notifyv1.RegisterNotificationsServer(svc.GRPC, rpc.NewNotifications(notifications))
	for _, c := range events.New(notifications, s.operators, cfg.Stale, cfg.smsBudget()).Consumers() {
		msgs.Consume(c.Subscription, c.Handle)
	}
	if s.announce != nil {
		svc.Go(s.announce)
	}
	svc.Go(sender.New(notifications, notification.Email, s.email, cfg.Sender).Run)
	svc.Go(sender.New(notifications, notification.SMS, s.sms, cfg.Sender).Run)
	svc.Go(sender.Watch(notifications, msgs.Alerts))
	if budget := cfg.smsBudget(); budget != nil {
		svc.Go(sender.WatchBudget(notifications, msgs.Alerts, *budget))
	}
	if cfg.LimitsRedis.Addr != "" {
		watch, err := msgs.Alerts.WatchLimits(cfg.LimitsRedis.Addr, cfg.LimitsRedis.CA)
		if err != nil {
			return fmt.Errorf("limits_redis.addr (REDIS_ADDR): %w", err)
		}
		svc.Go(watch)
	}
	if err := msgs.WatchWays(); err != nil {
		return err
	}
	svc.Go(database.Retain(db, cfg.retention()...))
	return svc.Run(ctx)
}
