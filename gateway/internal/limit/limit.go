// Package limit bounds how often one member, or one address, may call. The counts are in Redis, so that all gateways share them.
package limit

import (
	"context"
	"log/slog"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/go-redis/redis_rate/v10"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"

	"example.com/fourfold/chassis/redisdb"
)

// Rate is PerSecond calls on average, or PerHour, and Burst at once. 0 means no limit.
type Rate struct {
	PerSecond int `yaml:"per_second"`
	PerHour   int `yaml:"per_hour"`
	Burst     int `yaml:"burst"`
}

func (r Rate) none() bool { return r.PerSecond <= 0 && r.PerHour <= 0 }

// redis returns the rate as redis_rate has it.
func (r Rate) redis() redis_rate.Limit {
	if r.PerHour > 0 {
		return redis_rate.Limit{Rate: r.PerHour, Burst: max(r.Burst, 1), Period: time.Hour}
	}
	return redis_rate.Limit{Rate: r.PerSecond, Burst: max(r.Burst, 1), Period: time.Second}
}

// bucket returns a bucket of the rate in this process.
func (r Rate) bucket() *rate.Limiter {
	average := rate.Limit(r.PerSecond)
	if r.PerHour > 0 {
		average = rate.Limit(float64(r.PerHour) / time.Hour.Seconds())
	}
	return rate.NewLimiter(average, max(r.Burst, 1))
}

// Config says where Redis is (redisdb.Options), and how long a call waits for it before it is counted here.
type Config struct {
	Addr    string        `yaml:"addr"`
	CA      string        `yaml:"ca"`
	Timeout time.Duration `yaml:"timeout"`
}

// Open returns a client for Redis that gives up in time. It does not connect yet, and fails only for an address that can never work.
func Open(cfg Config) (*redis.Client, error) {
	o, err := redisdb.Options(cfg.Addr, cfg.CA, cfg.Timeout)
	if err != nil {
		return nil, err
	}
	o.PoolSize = 200 // a call that waits for a connection is not counted by Redis
	return redis.NewClient(o), nil
}

// Limiter counts calls.
type Limiter struct {
	redis    *redis_rate.Limiter
	patience time.Duration
	log      *slog.Logger
	local    *buckets
	missed   *prometheus.CounterVec
	// lastMiss is when Redis did not count a call, in nanoseconds since 1970.
	lastMiss atomic.Int64

	mu     sync.Mutex
	logged time.Time
}

// New returns a Limiter over a client that Open returned.
func New(rdb *redis.Client, log *slog.Logger, metrics prometheus.Registerer) (*Limiter, error) {
	missed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gateway_uncounted_calls_total",
		Help: "Calls that Redis did not count in time; they were counted by this gateway alone. By outcome: passed, refused.",
	}, []string{"outcome"})
	if err := metrics.Register(missed); err != nil {
		return nil, err
	}
	for _, outcome := range []string{"passed", "refused"} {
		missed.WithLabelValues(outcome)
	}
	return &Limiter{redis: redis_rate.NewLimiter(rdb), patience: rdb.Options().ReadTimeout, log: log, local: newBuckets(), missed: missed}, nil
}

// Take counts one call of subject under limit. When there were too many it returns a 429 with the seconds to wait in metadata.retry_after.
// What Redis does not count in time this gateway counts by itself, in a bucket that begins without a burst: so the limit holds for each
// gateway alone.
func (l *Limiter) Take(ctx context.Context, subject string, limit Rate) error {
	if limit.none() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, l.patience)
	defer cancel()
	result, err := l.redis.Allow(ctx, subject, limit.redis())
	if err != nil {
		l.warn(err)
		if wait := l.local.take(subject, Rate{limit.PerSecond, limit.PerHour, limit.PerSecond}); wait > 0 {
			l.missed.WithLabelValues("refused").Inc()
			return tooMany(wait)
		}
		l.missed.WithLabelValues("passed").Inc()
		return nil
	}
	if result.Allowed > 0 {
		return nil
	}
	return tooMany(result.RetryAfter)
}

// TakeHere counts one call as Take does, by this gateway alone: it costs no call of Redis.
func (l *Limiter) TakeHere(subject string, limit Rate) error {
	if limit.none() {
		return nil
	}
	if wait := l.local.take(subject, limit); wait > 0 {
		return tooMany(wait)
	}
	return nil
}

// degradedFor is how long after a call that Redis did not count the limits are called degraded.
const degradedFor = 10 * time.Second

// Degraded returns why limits hold for each gateway alone, "" while they do not.
func (l *Limiter) Degraded() string {
	if time.Since(time.Unix(0, l.lastMiss.Load())) > degradedFor {
		return ""
	}
	return "Redis does not answer: calls are counted by each gateway alone"
}

func tooMany(wait time.Duration) error {
	seconds := strconv.Itoa(int(max(1, math.Ceil(wait.Seconds()))))
	return kerrors.New(429, "TOO_MANY_REQUESTS", "too many calls: try again in "+seconds+" s").
		WithMetadata(map[string]string{"retry_after": seconds})
}

// warn logs that Redis does not answer, at most once a minute.
func (l *Limiter) warn(err error) {
	l.lastMiss.Store(time.Now().UnixNano())
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.logged) < time.Minute {
		return
	}
	l.logged = time.Now()
	l.log.Warn("Redis does not answer: calls are counted by this gateway alone", "err", err)
}

// remembered is how many subjects one gateway counts; beyond it those that did not call for longest begin anew.
const remembered = 100_000

// buckets are token buckets by subject, in this process.
type buckets struct {
	mu  sync.Mutex
	all *lru.Cache[string, *rate.Limiter]
}

func newBuckets() *buckets {
	all, err := lru.New[string, *rate.Limiter](remembered)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &buckets{all: all}
}

// take returns how long to wait, 0 for a call that may pass.
func (b *buckets) take(subject string, limit Rate) time.Duration {
	b.mu.Lock()
	bucket, ok := b.all.Get(subject)
	if !ok {
		bucket = limit.bucket()
		b.all.Add(subject, bucket)
	}
	b.mu.Unlock()
	r := bucket.Reserve()
	wait := r.Delay()
	if wait > 0 {
		r.Cancel()
	}
	return wait
}
