package service_test

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"example.com/fourfold/chassis/mtls"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/service/servicetest"
)

// instance is an instance of a service that can die and come back at its address.
type instance struct {
	healthv1.UnimplementedHealthServer
	addr   string
	calls  atomic.Int64
	takes  atomic.Int64 // nanoseconds
	server *grpc.Server
}

func (i *instance) Check(context.Context, *healthv1.HealthCheckRequest) (*healthv1.HealthCheckResponse, error) {
	i.calls.Add(1)
	time.Sleep(time.Duration(i.takes.Load()))
	return &healthv1.HealthCheckResponse{}, nil
}

func (i *instance) start(t *testing.T) {
	t.Helper()
	lis, err := net.Listen("tcp", i.addr)
	require.NoError(t, err)
	server := grpc.NewServer()
	healthv1.RegisterHealthServer(server, i)
	go func() { _ = server.Serve(lis) }()
	t.Cleanup(server.Stop)
	i.server = server
}

func newInstance(t *testing.T) *instance {
	t.Helper()
	i := &instance{addr: servicetest.FreeAddr(t)}
	i.start(t)
	return i
}

// dial returns a function that makes one call over a connection to addr.
func dial(t *testing.T, addr string) func() error {
	t.Helper()
	conn, err := service.Dial(addr, mtls.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	client := healthv1.NewHealthClient(conn)
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := client.Check(ctx, &healthv1.HealthCheckRequest{})
		return err
	}
}

// used waits until each of the instances gets calls.
func used(t *testing.T, call func() error, all ...*instance) {
	t.Helper()
	before := make([]int64, len(all))
	for n, i := range all {
		before[n] = i.calls.Load()
	}
	require.Eventually(t, func() bool {
		assert.NoError(t, call())
		for n, i := range all {
			if i.calls.Load() == before[n] {
				return false
			}
		}
		return true
	}, 3*time.Second, 5*time.Millisecond)
}

// usedAtOnce calls an instance that is back, a second time if the first call fails: a call connects by itself and waits a quarter of a second
// for that, which may not be enough on a busy machine; gRPC alone would connect up to a second later.
func usedAtOnce(t *testing.T, call func() error) {
	t.Helper()
	if err := call(); err != nil {
		require.NoError(t, call(), "used at once; first: %v", err)
	}
}

func TestInstancesDieAndComeBack(t *testing.T) {
	t.Parallel()
	one, two := newInstance(t), newInstance(t)
	call := dial(t, one.addr+", "+two.addr)
	used(t, call, one, two)

	one.server.Stop()
	require.Eventually(t, func() bool { return call() == nil }, time.Second, time.Millisecond, "a call that it had may fail")
	for until := time.Now().Add(2 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		require.NoError(t, call(), "the other one goes on")
	}
	one.start(t)
	used(t, call, one, two)

	one.server.Stop()
	two.server.Stop()
	require.Eventually(t, func() bool { return status.Code(call()) == codes.Unavailable }, time.Second, time.Millisecond)
	for range 4 { // the pauses grow
		require.Equal(t, codes.Unavailable, status.Code(call()))
	}
	two.start(t)
	usedAtOnce(t, call)
}

func TestOneInstanceComesBack(t *testing.T) {
	t.Parallel()
	one := newInstance(t)
	call := dial(t, one.addr)
	for range 3 {
		require.NoError(t, call())
		one.server.Stop()
		require.Eventually(t, func() bool { return status.Code(call()) == codes.Unavailable }, time.Second, time.Millisecond)
		for range 4 {
			require.Equal(t, codes.Unavailable, status.Code(call()))
		}
		one.start(t)
		usedAtOnce(t, call)
	}
}

// TestRollingRestart: instances that stop in an orderly way, one right after another is back, fail nobody's call.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	all := []*instance{newInstance(t), newInstance(t)}
	for _, i := range all {
		i.takes.Store(int64(5 * time.Millisecond))
	}
	call := dial(t, all[0].addr+","+all[1].addr)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 20 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					assert.NoError(t, call())
				}
			}
		})
	}
	for n := range 12 {
		i := all[n%2]
		i.server.GracefulStop()
		time.Sleep(100 * time.Millisecond) // as long as a start takes
		i.start(t)
	}
	close(stop)
	wg.Wait()
}

// TestUnansweredCallIsNotRepeated: the instance may have done it.
func TestUnansweredCallIsNotRepeated(t *testing.T) {
	t.Parallel()
	one, two := newInstance(t), newInstance(t)
	call := dial(t, one.addr+","+two.addr)
	used(t, call, one, two)
	for _, i := range []*instance{one, two} {
		i.takes.Store(int64(300 * time.Millisecond))
	}
	before := [2]int64{one.calls.Load(), two.calls.Load()}
	failed := make(chan error, 1)
	go func() { failed <- call() }()
	var has, other *instance
	require.Eventually(t, func() bool {
		has, other = one, two
		if two.calls.Load() > before[1] {
			has, other = two, one
		}
		return one.calls.Load()+two.calls.Load() > before[0]+before[1]
	}, time.Second, time.Millisecond)
	has.server.Stop()
	require.Equal(t, codes.Unavailable, status.Code(<-failed))
	assert.Equal(t, before[0]+before[1]+1, one.calls.Load()+two.calls.Load())
	other.takes.Store(0)
	require.NoError(t, call(), "there was another one")
}

// TestFrozenInstance: an instance that has gone silent, though its connection stands, is soon left out.
func TestFrozenInstance(t *testing.T) {
	t.Parallel()
	one, two := newInstance(t), newInstance(t)
	var frozen atomic.Bool
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = lis.Close() })
	go func() {
		for {
			in, err := lis.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", one.addr)
			if err != nil {
				return
			}
			pass := func(to, from net.Conn) {
				for b := make([]byte, 4096); ; {
					n, err := from.Read(b)
					if err != nil {
						_ = to.Close()
						return
					}
					if !frozen.Load() {
						_, _ = to.Write(b[:n])
					}
				}
			}
			go pass(in, out)
			go pass(out, in)
		}
	}()
	call := dial(t, lis.Addr().String()+","+two.addr)
	used(t, call, one, two)
	frozen.Store(true)
	require.Eventually(t, func() bool {
		for range 10 {
			if call() != nil {
				return false
			}
		}
		return true
	}, 25*time.Second, time.Millisecond)
}

func TestDialRefusesWhatIsNoAddress(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"", "127.0.0.1", "127.0.0.1:1,", "127.0.0.1:1,,127.0.0.1:2", "127.0.0.1:"} {
		_, err := service.Dial(addr, mtls.Config{})
		require.ErrorContains(t, err, "host:port", addr)
	}
}
