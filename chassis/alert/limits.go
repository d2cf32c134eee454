package alert

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"example.com/fourfold/chassis/loop"
	"example.com/fourfold/chassis/redisdb"
)

const limitsRedis = "limits-redis"

// WatchLimits returns background work that raises limits-redis when the Redis where the gateways count calls has taken nothing for a minute, and
// clears it when it does. Any number of processes of one service may run it. addr and ca, and its errors, are those of redisdb.Options.
func (a *Alerts) WatchLimits(addr, ca string) (func(context.Context) error, error) {
	options, err := redisdb.Options(addr, ca, 2*time.Second)
	if err != nil {
		return nil, err
	}
	rdb := redis.NewClient(options)
	watch := loop.Every(modeEvery, time.Minute, "look at the Redis for limits", newLimitsWatch(a, rdb).look)
	return func(ctx context.Context) error {
		defer func() { _ = rdb.Close() }()
		return watch(ctx)
	}, nil
}

// limitsWatch is what one process has seen.
type limitsWatch struct {
	alerts *Alerts
	redis  *redis.Client
	away   silence
}

func newLimitsWatch(a *Alerts, rdb *redis.Client) *limitsWatch {
	return &limitsWatch{alerts: a, redis: rdb, away: silence{long: time.Minute}}
}

func (w *limitsWatch) look(ctx context.Context) error {
	// A Redis that is full, or read only, or asks for a password answers a PING, and counts nothing.
	silent := w.redis.Set(ctx, "limits:watch", 1, time.Minute).Err()
	if silent == nil {
		w.away.over()
		return w.alerts.Clear(ctx, limitsRedis)
	}
	occurrence, lasts, told, err := w.away.lasts(ctx, w.alerts, limitsRedis)
	if err != nil || !told {
		return err
	}
	return occurrence.Raise(ctx, limitsRedis, fmt.Sprintf("the Redis for limits has taken nothing for %s", rounded(lasts)),
		fmt.Sprintf(`The Redis at which the gateways count calls has taken nothing of %s for %s: %v
No call fails for that. Each gateway counts by itself, without bursts, so two gateways let twice as much through.
What a gateway counts alone:  gateway_uncounted_calls_total at its /metrics, and "degraded" in its /readyz
`, w.alerts.service, rounded(lasts), silent))
}
