package sender

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/loop"
	"example.com/fourfold/notify/internal/mysql"
	"example.com/fourfold/notify/internal/notification"
)

const (
	watchEvery = 10 * time.Second
	// failedFor is how long a FAILED notification causes an alert.
	failedFor = time.Hour
	// lateAfter is the age from which a PENDING one does.
	lateAfter = 10 * time.Minute
)

// Watch returns background work that raises the alert <channel>-failing while a provider does not accept what it should, and clears it
// afterwards. Any number of processes may run it.
func Watch(store *mysql.Store, alerts *alert.Alerts) func(context.Context) error {
	return loop.Every(watchEvery, watchEvery, "look for notifications that fail", func(ctx context.Context) error {
		return errors.Join(look(ctx, store, alerts, notification.SMS), look(ctx, store, alerts, notification.Email))
	})
}

func look(ctx context.Context, store *mysql.Store, alerts *alert.Alerts, channel notification.Channel) error {
	failed, late, err := store.Failing(ctx, channel, failedFor, lateAfter)
	if err != nil {
		return err
	}
	key := map[notification.Channel]string{notification.SMS: "sms-failing", notification.Email: "email-failing"}[channel]
	if failed+late == 0 {
		return alerts.Clear(ctx, key)
	}
	return alerts.Raise(ctx, key,
		fmt.Sprintf("%s: %d given up within the last hour, %d waiting for longer than 10 minutes", channel, failed, late),
		`Each has the provider's last answer:
  GET /v1/ops/notifications?state=FAILED
  GET /v1/ops/notifications?state=PENDING
What is PENDING is tried again by itself; mend the provider or its settings (EMAIL_PROVIDER, SMTP_…, SMS_PROVIDER, SMS_…).
`)
}
