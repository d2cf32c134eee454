package rocketmq_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/rocketmq"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
)

// TestNameServerMoves: a name that cannot be looked up yet prevents no start; a name server that goes away after it was asked for the topic, and
// before the consumer has its route, makes no start fail; and one that comes back at another address is found by running clients.
func TestNameServerMoves(t *testing.T) {
	t.Parallel()
	s, err := rocketmqtest.Start()
	require.NoError(t, err)
	t.Cleanup(s.Stop)
	topic := s.Topic(t)
	require.NoError(t, s.Dial(t).Publish(t.Context(), topic,
		mq.Event{ID: "first", Source: "/test", Type: "thing.happened", Subject: "s", Sequence: 1}))
	host := atomic.Pointer[net.IP]{}
	old := open(t, s.NameServer)
	_, port, err := net.SplitHostPort(old.addr)
	require.NoError(t, err)
	names, err := rocketmq.ParseMovingNames("names.example.com:"+port, func() (net.IP, error) {
		if ip := host.Load(); ip != nil {
			return *ip, nil
		}
		return nil, errors.New("no such host")
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	heard, unknown := make(chan string, 100), make(chan error, 1000)
	started := make(chan error, 1)
	go func() {
		c, err := rocketmq.StartPush(ctx, names, topic, "moves", func(err error) { unknown <- err }, func(body string) { heard <- body })
		started <- err
		if err == nil {
			<-ctx.Done()
			_ = c.Shutdown()
		}
	}()
	require.ErrorContains(t, <-unknown, "no address")
	old.admit(1) // the question
	ip := net.IPv4(127, 0, 0, 1)
	host.Store(&ip)
	require.NoError(t, <-started)
	select {
	case body := <-heard:
		t.Fatalf("heard %s without a route", body)
	default:
	}
	moved := &door{addr: "127.0.0.2:" + port, to: s.NameServer}
	moved.reopen(t)
	t.Cleanup(moved.shut)
	ip2 := net.IPv4(127, 0, 0, 2)
	host.Store(&ip2)
	select {
	case <-heard:
	case <-time.After(2 * time.Minute):
		t.Fatal("the consumer does not find the name server at its new address")
	}
}

// TestSlowIsNotSentBack: a message whose handling takes longer than the client's limit is not handed to the broker's retries.
func TestSlowIsNotSentBack(t *testing.T) {
	t.Parallel()
	s := rocketmqtest.Shared(t)
	topic := s.Topic(t)
	require.NoError(t, s.Dial(t).Publish(t.Context(), topic,
		mq.Event{ID: "slow", Source: "/test", Type: "thing.happened", Subject: "s", Sequence: 1}))
	names, err := rocketmq.ParseNames(s.NameServer)
	require.NoError(t, err)
	group := "slow-" + topic
	heard, end := make(chan string, 100), make(chan struct{})
	c, err := rocketmq.StartPush(t.Context(), names, topic, group, func(error) {}, func(body string) {
		heard <- body
		<-end
	}, consumer.WithConsumeTimeout(time.Second))
	require.NoError(t, err)
	t.Cleanup(func() { close(end); _ = c.Shutdown() })
	retries, queues, err := rocketmq.StartPull(t.Context(), names, "%RETRY%"+group, "reader-"+topic, func(error) {})
	require.NoError(t, err)
	t.Cleanup(func() { _ = retries.Shutdown() })
	select {
	case <-heard:
	case <-time.After(2 * time.Minute):
		t.Fatal("the message does not come")
	}
	// The client checks every second, and the broker's first retry is 10 s later.
	require.Never(t, func() bool {
		for _, q := range queues {
			if last, err := retries.OffsetForTimestamp(q, time.Now().Add(24*time.Hour).UnixMilli()); err == nil && last > 0 {
				return true
			}
		}
		return false
	}, 15*time.Second, 500*time.Millisecond, "the broker has the message to try again")
}

// door is a proxy to a name server that can be shut: then nobody listens at its address.
type door struct {
	addr, to string
	mu       sync.Mutex
	listener net.Listener
	conns    []net.Conn
	left     int  // how many more connections it admits, if they are counted
	counted  bool // by admit
}

func open(t *testing.T, to string) *door {
	d := &door{addr: "127.0.0.1:0", to: to}
	d.reopen(t)
	t.Cleanup(d.shut)
	return d
}

func (d *door) reopen(t *testing.T) {
	l, err := net.Listen("tcp", d.addr)
	require.NoError(t, err)
	d.mu.Lock()
	d.addr, d.listener, d.counted = l.Addr().String(), l, false
	d.mu.Unlock()
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", d.to)
			if err != nil {
				_ = in.Close()
				continue
			}
			d.mu.Lock()
			d.conns = append(d.conns, in, out)
			if d.left--; d.counted && d.left == 0 {
				_ = l.Close()
			}
			d.mu.Unlock()
			go pipe(in, out)
			go pipe(out, in)
		}
	}()
}

// admit admits so many more connections.
func (d *door) admit(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left, d.counted = n, true
}

// used reports whether the connections of admit have come.
func (d *door) used() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counted && d.left <= 0
}

func pipe(from, to net.Conn) {
	_, _ = io.Copy(to, from)
	_, _ = from.Close(), to.Close()
}

func (d *door) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = d.listener.Close()
	for _, c := range d.conns {
		_ = c.Close()
	}
	d.conns = nil
}
