package checkout_test

import (
	"context"
	"database/sql"
	"maps"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/dtm-labs/client/dtmgrpc/dtmgpb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/mtls"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/chassis/tcc/tcclaws"
	"example.com/fourfold/order/internal/checkout"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
	"example.com/fourfold/order/internal/participant"
	"example.com/fourfold/order/internal/payment"
	"example.com/fourfold/order/migrations"
)

// coordinator stands in for the real one: it answers Submit as the test says, and asks only order's own branch for its last phase.
type coordinator struct {
	dtmgpb.UnimplementedDtmServer
	// submit decides the nth Submit, counted from 1: whether order is confirmed or canceled before the answer, and the answer.
	submit func(n int) (phase string, answer error)
	// hasty: it cancels order's branch before it answers Prepare.
	hasty  bool
	branch *payment.Payment
	addr   string
	server *grpc.Server

	mu       sync.Mutex
	headers  map[string]string
	payload  []byte
	prepared time.Time
	submits  []time.Duration // time since Prepare
	aborts   int
}

// serve lets the coordinator and the other participants answer at addr, which it sets.
func (c *coordinator) serve() error {
	lis, err := net.Listen("tcp", c.addr)
	if err != nil {
		return err
	}
	c.addr, c.server = lis.Addr().String(), grpc.NewServer(grpc.UnknownServiceHandler(willing))
	dtmgpb.RegisterDtmServer(c.server, c)
	go func(s *grpc.Server) { _ = s.Serve(lis) }(c.server)
	return nil
}

func (c *coordinator) Prepare(ctx context.Context, req *dtmgpb.DtmRequest) (*emptypb.Empty, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	branches, err := tcclaws.Prepared(ctx, req)
	c.headers, c.prepared, c.payload = req.GetTransOptions().GetBranchHeaders(), time.Now(), branches["01"]
	if err == nil && c.hasty {
		err = c.call(ctx, req.GetGid(), "cancel")
	}
	return &emptypb.Empty{}, err
}

func (c *coordinator) Submit(ctx context.Context, req *dtmgpb.DtmRequest) (*emptypb.Empty, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.submits = append(c.submits, time.Since(c.prepared))
	op, answer := c.submit(len(c.submits))
	if err := c.call(ctx, req.GetGid(), op); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, answer
}

// call calls phase op of order's own branch; "" is none.
func (c *coordinator) call(ctx context.Context, gid, op string) error {
	headers := maps.Clone(c.headers)
	maps.Copy(headers, map[string]string{"dtm-gid": gid, "dtm-branch_id": "01", "dtm-op": op})
	ctx = tcc.LocalContext(ctx, orderv1.OrderPayment_ServiceDesc.ServiceName, c.payload, headers)
	request := &orderv1.OrderPaymentRequest{}
	err := proto.Unmarshal(c.payload, request)
	switch op {
	case "confirm":
		_, err = c.branch.Confirm(ctx, request)
	case "cancel":
		_, err = c.branch.Cancel(ctx, request)
	}
	return err
}

func (c *coordinator) Abort(context.Context, *dtmgpb.DtmRequest) (*emptypb.Empty, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aborts++
	return &emptypb.Empty{}, nil
}

// willing is every other participant: it accepts each Try.
func willing(_ any, stream grpc.ServerStream) error {
	if err := stream.RecvMsg(&emptypb.Empty{}); err != nil {
		return err
	}
	return stream.SendMsg(&emptypb.Empty{})
}

// TestSubmit tests that a Submit whose outcome is unknown is sent again until the coordinator answers or the deadline comes, and that a refused
// one is not. The shopper is told the row's status.
func TestSubmit(t *testing.T) {
	t.Parallel()
	unknown := status.Error(codes.Internal, "the log does not answer")
	refused := status.Error(codes.Aborted, "aborting and cannot be submitted any more")
	for name, tt := range map[string]struct {
		submit  func(n int) (phase string, answer error)
		submits int // 0: as many as there is time for
		ends    order.Status
	}{
		"answered": {func(int) (string, error) { return "confirm", nil }, 1, order.Paid},
		"not heard at first": {func(n int) (string, error) {
			if n < 4 {
				return "", unknown
			}
			return "confirm", nil
		}, 4, order.Paid},
		"answer lost": {func(n int) (string, error) {
			if n == 1 {
				return "confirm", unknown
			}
			return "", nil
		}, 2, order.Paid},
		"refused": {func(int) (string, error) { return "cancel", refused }, 1, order.Canceled},
		"refused when asked again": {func(n int) (string, error) {
			if n == 1 {
				return "", unknown
			}
			return "cancel", refused
		}, 2, order.Canceled},
		"never heard": {func(int) (string, error) { return "", unknown }, 0, order.Updating},
		"never heard, but decided": {func(n int) (string, error) {
			if n == 2 {
				return "confirm", unknown
			}
			return "", unknown
		}, 0, order.Paid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			times := checkout.Times{TimeoutToFail: 8 * time.Second, Deadline: 6 * time.Second, Call: 3 * time.Second,
				Wait: 100 * time.Millisecond}
			if tt.submits == 0 {
				times.Deadline = 1500 * time.Millisecond
			}
			c := &coordinator{submit: tt.submit}
			pay, store, _ := initiator(t, c, times)
			require.NoError(t, pay.Run(t.Context(), order.Payment, "m", "o"))
			state, err := store.State(t.Context(), "o")
			require.NoError(t, err)
			assert.Equal(t, tt.ends, state.Status)
			c.mu.Lock()
			defer c.mu.Unlock()
			assert.Zero(t, c.aborts, "who has asked to confirm does not ask to cancel")
			if tt.submits > 0 {
				assert.Len(t, c.submits, tt.submits)
				return
			}
			assert.Greater(t, len(c.submits), 1)
			assert.Less(t, c.submits[len(c.submits)-1], times.Deadline+times.Call)
		})
	}
}

// TestTryBehindItsCancel tests a payment that is canceled before order's own Try, which answers then without holding the order: nothing goes on.
func TestTryBehindItsCancel(t *testing.T) {
	t.Parallel()
	c := &coordinator{submit: func(int) (string, error) { return "", nil }, hasty: true}
	pay, store, _ := initiator(t, c, checkout.Times{
		TimeoutToFail: 8 * time.Second, Deadline: 6 * time.Second, Call: 3 * time.Second, Wait: 100 * time.Millisecond})
	require.NoError(t, pay.Run(t.Context(), order.Payment, "m", "o"))
	state, err := store.State(t.Context(), "o")
	require.NoError(t, err)
	assert.Equal(t, mysql.State{Status: order.Created}, state, "it can be paid by another")
	c.mu.Lock()
	defer c.mu.Unlock()
	assert.Empty(t, c.submits)
	assert.Equal(t, 1, c.aborts)
}

// TestSubmitOverRestart tests a coordinator that goes away with the Submit and is back a second later.
func TestSubmitOverRestart(t *testing.T) {
	t.Parallel()
	c := &coordinator{}
	back := make(chan error, 1)
	c.submit = func(n int) (string, error) {
		if n > 1 {
			return "confirm", nil
		}
		go func() {
			c.server.Stop()
			time.AfterFunc(time.Second, func() { back <- c.serve() })
		}()
		return "", status.Error(codes.Unavailable, "stopping")
	}
	pay, store, _ := initiator(t, c, checkout.Times{
		TimeoutToFail: 8 * time.Second, Deadline: 6 * time.Second, Call: 3 * time.Second, Wait: 100 * time.Millisecond})
	require.NoError(t, pay.Run(t.Context(), order.Payment, "m", "o"))
	require.NoError(t, <-back)
	state, err := store.State(t.Context(), "o")
	require.NoError(t, err)
	assert.Equal(t, order.Paid, state.Status)
}

// initiator returns an initiator under c, with the payable order "o" of member "m".
func initiator(t *testing.T, c *coordinator, times checkout.Times) (*checkout.Checkout, *mysql.Store, *sql.DB) {
	t.Helper()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	store := mysql.NewStore(db, mqtest.Absent(t, db, "order"))
	o, err := order.New("o", "m", "", []order.Line{{SKU: "a", Name: "a", PriceCents: 500, Quantity: 2}})
	require.NoError(t, err)
	require.NoError(t, store.Create(t.Context(), o, time.Hour, 0, func(*sql.Tx, order.Order) error { return nil }))
	keys, err := mac.Parse("k1:00112233445566778899aabbccddeeff")
	require.NoError(t, err)
	c.branch = payment.New(tcc.NewParticipant("order", db, keys), store)

	c.addr = "127.0.0.1:0"
	require.NoError(t, c.serve())
	t.Cleanup(func() { c.server.Stop() })
	global, err := tcc.Dial(c.addr, "http://127.0.0.1:1", mtls.Config{}, keys)
	require.NoError(t, err)
	t.Cleanup(func() { _ = global.Close() })
	addrs := map[string]string{}
	for _, p := range participant.All() {
		addrs[p.Name] = c.addr
	}
	peers, err := participant.Dial(addrs, mtls.Config{})
	require.NoError(t, err)
	refund := payment.NewRefund(tcc.NewParticipant("order-refund", db, keys), store)
	return checkout.New(store, global, c.branch, refund, "127.0.0.1:1", nil, peers, times), store, db
}
