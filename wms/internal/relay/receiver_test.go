package relay_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/tcc"
)

// receiver is order's end: a gRPC server that writes down what comes and answers as it is told to.
type receiver struct {
	orderv1.UnimplementedDeliveryEventsServer
	keys tcc.Keys
	addr string

	mu     sync.Mutex
	server *grpc.Server
	// answer decides about the nth arrival (from 1) of an event; nil takes everything.
	answer func(ctx context.Context, e *orderv1.DeliveryEvent, nth int) error
	came   []arrival
	nth    map[string]int
	taken  map[string]int64 // the seq that is taken of each order
	wrong  []string
}

type arrival struct {
	id, order string
	seq       int64
	at        time.Time
}

// newReceiver gives a receiver that listens.
func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{keys: keys(t), nth: map[string]int{}, taken: map[string]int64{}}
	r.start(t)
	t.Cleanup(r.stop)
	return r
}

// start listens, the second time on the same port.
func (r *receiver) start(t *testing.T) {
	t.Helper()
	addr := r.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	lis, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addr, r.server = lis.Addr().String(), grpc.NewServer()
	orderv1.RegisterDeliveryEventsServer(r.server, r)
	go func(s *grpc.Server) { _ = s.Serve(lis) }(r.server)
}

// stop breaks all connections.
func (r *receiver) stop() {
	r.mu.Lock()
	server := r.server
	r.mu.Unlock()
	server.Stop()
}

// answers replaces what it answers.
func (r *receiver) answers(f func(ctx context.Context, e *orderv1.DeliveryEvent, nth int) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

// Deliver checks what must hold of every arrival: it is signed, and the order's event before it is taken.
func (r *receiver) Deliver(ctx context.Context, e *orderv1.DeliveryEvent) (*emptypb.Empty, error) {
	if err := r.keys.CheckCall(ctx, orderv1.DeliveryEvents_Deliver_FullMethodName,
		e.GetEventId(), e.GetOrderId(), fmt.Sprint(e.GetSeq()), e.GetType().String()); err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.nth[e.GetEventId()]++
	nth, answer := r.nth[e.GetEventId()], r.answer
	r.came = append(r.came, arrival{e.GetEventId(), e.GetOrderId(), e.GetSeq(), time.Now()})
	if want := map[int64]orderv1.DeliveryEvent_Type{1: orderv1.DeliveryEvent_SHIPPED, 2: orderv1.DeliveryEvent_DELIVERED}; want[e.GetSeq()] != e.GetType() {
		r.wrong = append(r.wrong, fmt.Sprintf("%s: %s has seq %d", e.GetOrderId(), e.GetType(), e.GetSeq()))
	}
	if e.GetSeq() > r.taken[e.GetOrderId()]+1 {
		r.wrong = append(r.wrong, fmt.Sprintf("%s: seq %d came when %d was taken", e.GetOrderId(), e.GetSeq(), r.taken[e.GetOrderId()]))
	}
	r.mu.Unlock()
	if answer != nil {
		if err := answer(ctx, e, nth); err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken[e.GetOrderId()] = max(r.taken[e.GetOrderId()], e.GetSeq())
	return &emptypb.Empty{}, nil
}

// arrivals are those so far of the order, or of all when it is empty.
func (r *receiver) arrivals(orderID string) []arrival {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.came), func(a arrival) bool { return orderID != "" && a.order != orderID })
}

// tookAll tells whether the first n events of every one of the orders are taken.
func (r *receiver) tookAll(n int64, orders ...string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !slices.ContainsFunc(orders, func(id string) bool { return r.taken[id] < n })
}

// requireRight checks that nothing came unsigned, early or with a wrong number.
func (r *receiver) requireRight(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Empty(t, r.wrong)
}
