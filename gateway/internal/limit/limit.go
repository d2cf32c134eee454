// Package limit bounds how often one member, or one address, may call. The counts are in Redis, so that all gateways share them.
package limit

import (
	"context"
	"log/slog"
	"math"
	"strconv"
	"sync"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Rate is PerSecond calls on average, or PerHour, and Burst at once. 0 means no limit.
type Rate struct {
	PerSecond int `yaml:"per_second"`
	PerHour   int `yaml:"per_hour"`
	Burst     int `yaml:"burst"`
}

// Config says where Redis is, and how long a call waits for it before it passes uncounted.
type Config struct {
	Addr    string        `yaml:"addr"`
	Timeout time.Duration `yaml:"timeout"`
}

// Open returns a client for Redis that gives up in time. It does not connect yet.
func Open(cfg Config) *redis.Client {
	patience := cfg.Timeout
	return redis.NewClient(&redis.Options{
		Addr:                  cfg.Addr,
		DialTimeout:           patience,
		DialerRetries:         1,
		DialerRetryTimeout:    time.Millisecond,
		ReadTimeout:           patience,
		WriteTimeout:          patience,
		PoolTimeout:           patience,
		ContextTimeoutEnabled: true,
		MaxRetries:            -1,
		DisableIdentity:       true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	})
}

// Limiter counts calls.
type Limiter struct {
	redis    *redis_rate.Limiter
	patience time.Duration
	log      *slog.Logger

	mu     sync.Mutex
	logged time.Time
}

// New returns a Limiter over a client that Open returned.
func New(rdb *redis.Client, log *slog.Logger) *Limiter {
	return &Limiter{redis: redis_rate.NewLimiter(rdb), patience: rdb.Options().ReadTimeout, log: log}
}

// Take counts one call of subject under rate. When there were too many it returns a 429 with the seconds to wait in metadata.retry_after.
// Without Redis every call passes: the shop is worth more than its limits.
func (l *Limiter) Take(ctx context.Context, subject string, rate Rate) error {
	limit := redis_rate.Limit{Rate: rate.PerSecond, Burst: max(rate.Burst, 1), Period: time.Second}
	if rate.PerHour > 0 {
		limit.Rate, limit.Period = rate.PerHour, time.Hour
	}
	if limit.Rate <= 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, l.patience)
	defer cancel()
	result, err := l.redis.Allow(ctx, subject, limit)
	if err != nil {
		l.warn(err)
		return nil
	}
	if result.Allowed > 0 {
		return nil
	}
	seconds := strconv.Itoa(int(max(1, math.Ceil(result.RetryAfter.Seconds()))))
	return kerrors.New(429, "TOO_MANY_REQUESTS", "too many calls: try again in "+seconds+" s").
		WithMetadata(map[string]string{"retry_after": seconds})
}

// warn logs that Redis does not answer, at most once a minute.
func (l *Limiter) warn(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.logged) < time.Minute {
		return
	}
	l.logged = time.Now()
	l.log.Warn("Redis does not answer: calls are not limited", "err", err)
}
