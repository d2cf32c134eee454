// Package failovertest gives tests a broker that can be away, and with it a failover transport over a real Redis.
package failovertest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/failover"
	"example.com/fourfold/chassis/mq/memory"
	"example.com/fourfold/chassis/mq/redis"
)

// Link is a process' way to a broker within this process.
type Link struct {
	*memory.Transport
	State atomic.Int32 // Works, Refuses, …
	Tries atomic.Int64
	Sends atomic.Int64 // that worked
}

// How a Link is.
const (
	Works int32 = iota
	Refuses
	Hangs
	NoRoute
	Invalid
	Slow
)

var _ failover.Primary = (*Link)(nil)

func (l *Link) fault(ctx context.Context) error {
	switch l.State.Load() {
	case Refuses:
		return fmt.Errorf("%w: dial tcp 127.0.0.1:10911: connect: connection refused", mq.ErrUnavailable)
	case Hangs:
		<-ctx.Done()
		return fmt.Errorf("%w: %w", mq.ErrUnavailable, ctx.Err())
	case Slow:
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", mq.ErrUnavailable, ctx.Err())
		case <-time.After(300 * time.Millisecond): // longer than a send may take
		}
	case NoRoute:
		return mq.ErrNoRoute
	case Invalid:
		return mq.ErrRefused
	}
	return nil
}

// Send implements mq.Transport.
func (l *Link) Send(ctx context.Context, topic string, e mq.Event, at time.Time) error {
	l.Tries.Add(1)
	if err := l.fault(ctx); err != nil {
		return err
	}
	if topic == "" {
		return mq.ErrRefused // as a real one says
	}
	l.Sends.Add(1)
	return l.Transport.Send(ctx, topic, e, at)
}

// Transactions implements mq.Halves by half messages whose end is never lost.
func (l *Link) Transactions(mq.Check) mq.Transactions { return halves{l} }

// DiskUsed implements mq.Disk.
func (l *Link) DiskUsed(context.Context) (float64, error) { return 0.5, nil }

type halves struct{ *Link }

func (h halves) Half(ctx context.Context, topic string, e mq.Event, _ time.Time, local func() mq.Verdict) error {
	if err := h.fault(ctx); err != nil {
		return err
	}
	if local() == mq.Commit {
		return h.Send(ctx, topic, e, time.Time{})
	}
	return nil
}

func (h halves) Answer(ctx context.Context, _ string) error { <-ctx.Done(); return nil }

// Quick returns settings with times for tests.
func Quick() failover.Config {
	return failover.Config{Deadline: 100 * time.Millisecond, Within: 300 * time.Millisecond, Idle: 300 * time.Millisecond,
		Lease: 3 * time.Second, Steady: []time.Duration{300 * time.Millisecond, time.Second, 4 * time.Second}, Canary: -1, Overlap: -1}
}

// Process is a process that sends by a broker or by Redis. It does not watch them unless Run runs.
type Process struct {
	*failover.Transport
	Link   *Link
	Queues *redis.Queues
}

// New returns a process called name with a Link to broker, and the queues with the prefix in the Redis at addr.
func New(t testing.TB, name string, broker *memory.Transport, addr, prefix string, cfg failover.Config) *Process {
	t.Helper()
	q, err := redis.Open(redis.Config{Addr: addr, Prefix: prefix, Lease: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	l := &Link{Transport: broker}
	return &Process{failover.New(name, l, q, cfg), l, q}
}
