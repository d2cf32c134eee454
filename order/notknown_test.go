package main

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtm-labs/client/dtmgrpc/dtmgpb"
	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	accessv1 "example.com/fourfold/api/access/v1"
	ledgerv1 "example.com/fourfold/api/ledger/v1"
	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/ledger"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/service/servicetest"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/chassis/tcc/tcclaws"
)

// others answers for the coordinator, which decides nothing, and for the other participants, which agree to everything and have empty books.
type others struct{ dtmgpb.UnimplementedDtmServer }

func (others) Prepare(context.Context, *dtmgpb.DtmRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

func (others) RegisterBranch(context.Context, *dtmgpb.DtmBranchRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

func (others) Submit(context.Context, *dtmgpb.DtmRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

func (others) Abort(context.Context, *dtmgpb.DtmRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}

func (others) agree(_ any, stream grpc.ServerStream) error {
	if err := stream.RecvMsg(new(emptypb.Empty)); err != nil {
		return err
	}
	if method, _ := grpc.MethodFromServerStream(stream); method != ledgerv1.Ledger_Digest_FullMethodName {
		return stream.SendMsg(&emptypb.Empty{})
	}
	empty := &ledgerv1.DigestReply{}
	for range ledger.Buckets {
		empty.Buckets = append(empty.Buckets, &ledgerv1.Bucket{})
	}
	return stream.SendMsg(empty)
}

// shopOrder is a running order service, with its database and a client who calls as a member.
type shopOrder struct {
	conn   *grpc.ClientConn
	db     *sql.DB
	keys   tcc.Keys
	signer *identity.Signer
	calls  *atomic.Int64
}

// member is the client.
const member = "m-1"

// serveOrder runs order between others until the test ends. set changes its configuration.
func serveOrder(t *testing.T, set func(*config)) shopOrder {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer(grpc.UnknownServiceHandler(others{}.agree))
	dtmgpb.RegisterDtmServer(server, others{})
	go func() { _ = server.Serve(lis) }()
	t.Cleanup(server.Stop)
	dir, signer := servicetest.Keys(t)
	var cfg config
	require.NoError(t, service.Load("", defaults, &cfg))
	cfg.BranchKeys, cfg.MySQL = "k1:00112233445566778899aabbccddeeff", database.Config{DSN: mysqltest.DSN(t)}
	cfg.GRPC.Addr, cfg.Admin.Addr, cfg.Log.Level, cfg.IdentityKeys = servicetest.FreeAddr(t), "127.0.0.1:0", "error", dir
	cfg.MQ.NameServers = "127.0.0.1:1" // a broker that is away does not keep the service from starting
	cfg.Coordinator.GRPC = lis.Addr().String()
	for name := range cfg.Peers {
		cfg.Peers[name] = lis.Addr().String()
	}
	cfg.Payment.Wait = 20 * time.Millisecond
	set(&cfg)
	servicetest.Serve(t, func(ctx context.Context) error { return serve(ctx, cfg) })
	keys, err := tcc.ParseKeys(cfg.BranchKeys)
	require.NoError(t, err)
	db, err := database.Open(database.Config{DSN: cfg.MySQL.DSN})
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	s := shopOrder{conn: servicetest.Dial(t, cfg.GRPC.Addr), db: db, keys: keys, signer: signer, calls: new(atomic.Int64)}
	s.do(t, orderv1.Orders_ListOrders_FullMethodName, &orderv1.ListOrdersRequest{}) // it serves, so its tables are there
	s.exec(t, "INSERT INTO product (sku, name, price_cents, version) VALUES ('tea', 'tea', 500, 1)")
	return s
}

func (s shopOrder) exec(t *testing.T, statement string, args ...any) {
	t.Helper()
	_, err := s.db.ExecContext(t.Context(), statement, args...)
	require.NoError(t, err)
}

// headers returns the headers of a new call by the member.
func (s shopOrder) headers(t *testing.T) map[string]string {
	t.Helper()
	headers := servicetest.Bearer(t, s.signer, identity.Caller{MemberID: member, Role: accessv1.Shopper})
	headers["idempotency-key"] = fmt.Sprint("k-", s.calls.Add(1))
	return headers
}

// try makes a call as the member.
func (s shopOrder) try(t *testing.T, method string, req proto.Message) (*orderv1.Order, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(t.Context(), metadata.New(s.headers(t))), 30*time.Second)
	defer cancel()
	o := &orderv1.Order{}
	return o, s.conn.Invoke(ctx, method, req, o)
}

// do makes a call that must succeed.
func (s shopOrder) do(t *testing.T, method string, req proto.Message) *orderv1.Order {
	t.Helper()
	o, err := s.try(t, method, req)
	require.NoError(t, err)
	return o
}

var oneTea = &orderv1.CreateOrderRequest{Lines: []*orderv1.CreateOrderRequest_Line{{Sku: "tea", Quantity: 1}}}

// order returns the id of a new order, after the steps pay, cancel, refund, paid and expired.
func (s shopOrder) order(t *testing.T, steps ...string) string {
	t.Helper()
	id := s.do(t, orderv1.Orders_CreateOrder_FullMethodName, oneTea).GetId()
	for _, step := range steps {
		switch step {
		case "pay":
			s.do(t, orderv1.Orders_PayOrder_FullMethodName, &orderv1.PayOrderRequest{Id: id})
		case "cancel":
			s.do(t, orderv1.Orders_CancelOrder_FullMethodName, &orderv1.CancelOrderRequest{Id: id})
		case "refund":
			s.do(t, orderv1.Orders_RefundOrder_FullMethodName, &orderv1.RefundOrderRequest{Id: id})
		case "paid":
			s.phase(t, orderv1.OrderPayment_Confirm_FullMethodName, id)
		case "not refunded":
			s.phase(t, orderv1.OrderRefund_Cancel_FullMethodName, id)
		case "expired":
			s.exec(t, "UPDATE orders SET expires_at = '2026-01-01' WHERE id = ?", id)
		default:
			t.Fatal(step)
		}
	}
	return id
}

// branch returns the request and the headers with which the coordinator calls method, a phase of order's own branch that holds the order id.
func (s shopOrder) branch(t *testing.T, method, id string) (proto.Message, map[string]string) {
	t.Helper()
	var gid string
	require.NoError(t, s.db.QueryRowContext(t.Context(), "SELECT gid FROM orders WHERE id = ?", id).Scan(&gid))
	headers := tcclaws.Phase(s.keys, method, gid, id)
	if strings.Contains(method, "OrderRefund") {
		return &orderv1.OrderRefundRequest{OrderId: id}, headers
	}
	return &orderv1.OrderPaymentRequest{OrderId: id}, headers
}

func (s shopOrder) phase(t *testing.T, method, id string) {
	t.Helper()
	req, headers := s.branch(t, method, id)
	require.NoError(t, s.conn.Invoke(metadata.NewOutgoingContext(t.Context(), metadata.New(headers)), method, req, new(emptypb.Empty)))
}

// TestNotKnown tests that what is not known is answered as not known, in every call, whatever the database fails to do.
func TestNotKnown(t *testing.T) {
	t.Parallel()
	faults := mysqltest.NewFaults()
	s := serveOrder(t, func(cfg *config) { cfg.MySQL.Wrap = faults.Wrap })
	about := func(make func(id string) proto.Message, steps ...string) func(*testing.T) (proto.Message, map[string]string) {
		return func(t *testing.T) (proto.Message, map[string]string) { return make(s.order(t, steps...)), s.headers(t) }
	}
	phase := func(method string, steps ...string) func(*testing.T) (proto.Message, map[string]string) {
		return func(t *testing.T) (proto.Message, map[string]string) {
			return s.branch(t, method, s.order(t, steps...))
		}
	}
	get := func(id string) proto.Message { return &orderv1.GetOrderRequest{Id: id} }
	pay := func(id string) proto.Message { return &orderv1.PayOrderRequest{Id: id} }
	cancel := func(id string) proto.Message { return &orderv1.CancelOrderRequest{Id: id} }
	refund := func(id string) proto.Message { return &orderv1.RefundOrderRequest{Id: id} }
	servicetest.NotKnown(t, s.conn, faults, []servicetest.Call{
		{Method: orderv1.Orders_CreateOrder_FullMethodName, Make: func(t *testing.T) (proto.Message, map[string]string) {
			return oneTea, s.headers(t)
		}},
		{Method: orderv1.Orders_GetOrder_FullMethodName, Make: about(get)},
		{Method: orderv1.Orders_ListOrders_FullMethodName, Make: func(t *testing.T) (proto.Message, map[string]string) {
			return &orderv1.ListOrdersRequest{PageSize: 1}, s.headers(t)
		}},
		{Method: orderv1.Orders_PayOrder_FullMethodName, Case: "CREATED", Make: about(pay)},
		{Method: orderv1.Orders_PayOrder_FullMethodName, Case: "expired", Make: about(pay, "expired")},
		{Method: orderv1.Orders_PayOrder_FullMethodName, Case: "CANCELED", Make: about(pay, "cancel")},
		{Method: orderv1.Orders_PayOrder_FullMethodName, Case: "PAID", Make: about(pay, "pay", "paid")},
		{Method: orderv1.Orders_PayOrder_FullMethodName, Case: "REFUNDING", Make: about(pay, "pay", "paid", "refund")},
		{Method: orderv1.Orders_CancelOrder_FullMethodName, Case: "CREATED", Make: about(cancel)},
		{Method: orderv1.Orders_CancelOrder_FullMethodName, Case: "CANCELED", Make: about(cancel, "cancel")},
		{Method: orderv1.Orders_CancelOrder_FullMethodName, Case: "UPDATING", Make: about(cancel, "pay")},
		{Method: orderv1.Orders_RefundOrder_FullMethodName, Case: "CREATED", Make: about(refund)},
		{Method: orderv1.Orders_RefundOrder_FullMethodName, Case: "PAID", Make: about(refund, "pay", "paid")},
		{Method: orderv1.Orders_RefundOrder_FullMethodName, Case: "REFUNDING", Make: about(refund, "pay", "paid", "refund")},
		{Method: orderv1.OrderPayment_Confirm_FullMethodName, Make: phase(orderv1.OrderPayment_Confirm_FullMethodName, "pay")},
		{Method: orderv1.OrderPayment_Cancel_FullMethodName, Make: phase(orderv1.OrderPayment_Cancel_FullMethodName, "pay")},
		{Method: orderv1.OrderRefund_Confirm_FullMethodName,
			Make: phase(orderv1.OrderRefund_Confirm_FullMethodName, "pay", "paid", "refund")},
		{Method: orderv1.OrderRefund_Cancel_FullMethodName,
			Make: phase(orderv1.OrderRefund_Cancel_FullMethodName, "pay", "paid", "refund")},
		{Method: orderv1.Conservation_CheckConservation_FullMethodName, Make: func(t *testing.T) (proto.Message, map[string]string) {
			return &orderv1.CheckConservationRequest{},
				servicetest.Bearer(t, s.signer, identity.Caller{MemberID: "operator", Role: accessv1.Operator})
		}, Says: func(proto.Message) string { return "a report" }},
	}, "mq.v1.Messages")
}

// TestCancelOfLockedOrder tests that a member whose order somebody has locked for longer than the database waits is told to try later, not that
// the order cannot be canceled.
func TestCancelOfLockedOrder(t *testing.T) {
	t.Parallel()
	s := serveOrder(t, func(*config) {})
	id := s.order(t)
	tx, err := s.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	var locked string
	require.NoError(t, tx.QueryRowContext(t.Context(), "SELECT id FROM orders WHERE id = ? FOR UPDATE", id).Scan(&locked))
	_, err = s.try(t, orderv1.Orders_CancelOrder_FullMethodName, &orderv1.CancelOrderRequest{Id: id})
	assert.Equal(t, "TRY_LATER", kerrors.Reason(err), "%v", err)
	assert.Equal(t, 503, kerrors.Code(err), "%v", err)
	require.NoError(t, tx.Rollback())
	require.Equal(t, orderv1.Order_CANCELED, s.do(t, orderv1.Orders_CancelOrder_FullMethodName, &orderv1.CancelOrderRequest{Id: id}).GetStatus())
}
