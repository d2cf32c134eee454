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
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/service/servicetest"
	"example.com/fourfold/chassis/tcc/tcclaws"
)

// others answers for the coordinator, which decides nothing, and for the other participants, which agree to everything and have empty books.
type others struct {
	dtmgpb.UnimplementedDtmServer
	prepare func() error
}

func (o others) Prepare(ctx context.Context, req *dtmgpb.DtmRequest) (*emptypb.Empty, error) {
	if _, err := tcclaws.Prepared(ctx, req); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, o.prepare()
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

// running is an order service that runs, with its database and a client who calls as a member.
type running struct {
	conn   *grpc.ClientConn
	db     *sql.DB
	keys   mac.Keys
	signer *identity.Signer
	calls  *atomic.Int64
}

// member is the client.
const member = "m-1"

// serveOrder runs order between others until the test ends. set changes its configuration; prepare, if there is one, is what the coordinator
// does when it is asked to open a transaction.
func serveOrder(t *testing.T, set func(*config), prepare ...func(*sql.DB) error) running {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	dir, signer := servicetest.Keys(t)
	var cfg config
	require.NoError(t, service.Load("", defaults, &cfg))
	cfg.BranchKeys, cfg.MySQL = "k1:00112233445566778899aabbccddeeff", mysqltest.Config(t)
	cfg.GRPC.Addr, cfg.Admin.Addr, cfg.Log.Level, cfg.IdentityKeys = servicetest.FreeAddr(t), "127.0.0.1:0", "error", dir
	cfg.MQ.NameServers = "127.0.0.1:1" // a broker that is away does not keep the service from starting
	cfg.MQ.Queues.Addr = "127.0.0.1:1"
	cfg.MQ.Keys = mqtest.Keys()
	cfg.Coordinator.GRPC = lis.Addr().String()
	for name := range cfg.Peers {
		cfg.Peers[name] = lis.Addr().String()
	}
	cfg.Payment.Wait = 20 * time.Millisecond
	cfg.OpenOrders = 0 // one member orders everything
	set(&cfg)
	servicetest.Serve(t, func(ctx context.Context) error { return serve(ctx, cfg) })
	keys, err := mac.Parse(cfg.BranchKeys)
	require.NoError(t, err)
	db, err := database.Open(database.Config{DSN: cfg.MySQL.DSN})
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	world := others{prepare: func() error {
		for _, f := range prepare {
			if err := f(db); err != nil {
				return err
			}
		}
		return nil
	}}
	server := grpc.NewServer(grpc.UnknownServiceHandler(world.agree))
	dtmgpb.RegisterDtmServer(server, world)
	go func() { _ = server.Serve(lis) }()
	t.Cleanup(server.Stop)
	s := running{conn: servicetest.Dial(t, cfg.GRPC.Addr), db: db, keys: keys, signer: signer, calls: new(atomic.Int64)}
	s.do(t, orderv1.Orders_ListOrders_FullMethodName, &orderv1.ListOrdersRequest{}) // it serves, so its tables are there
	s.exec(t, "INSERT INTO product (sku, name, price_cents, version) VALUES ('tea', 'tea', 500, 1)")
	return s
}

func (s running) exec(t *testing.T, statement string, args ...any) {
	t.Helper()
	_, err := s.db.ExecContext(t.Context(), statement, args...)
	require.NoError(t, err)
}

// headers returns the headers of a new call by the member.
func (s running) headers(t *testing.T) map[string]string {
	t.Helper()
	headers := servicetest.Bearer(t, s.signer, identity.Caller{MemberID: member, Role: accessv1.Shopper})
	headers["idempotency-key"] = fmt.Sprint("k-", s.calls.Add(1))
	return headers
}

// try makes a new call as the member.
func (s running) try(t *testing.T, method string, req proto.Message) (*orderv1.Order, error) {
	t.Helper()
	return s.call(t, s.headers(t), method, req)
}

// call makes a call with these headers.
func (s running) call(t *testing.T, headers map[string]string, method string, req proto.Message) (*orderv1.Order, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(t.Context(), metadata.New(headers)), 30*time.Second)
	defer cancel()
	o := &orderv1.Order{}
	return o, s.conn.Invoke(ctx, method, req, o)
}

// do makes a call that must succeed.
func (s running) do(t *testing.T, method string, req proto.Message) *orderv1.Order {
	t.Helper()
	o, err := s.try(t, method, req)
	require.NoError(t, err)
	return o
}

var oneTea = &orderv1.CreateOrderRequest{Lines: []*orderv1.CreateOrderRequest_Line{{Sku: "tea", Quantity: 1}}}

// order returns the id of a new order, after the steps pay, cancel, refund, paid and expired.
func (s running) order(t *testing.T, steps ...string) string {
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
func (s running) branch(t *testing.T, method, id string) (proto.Message, map[string]string) {
	t.Helper()
	var gid string
	require.NoError(t, s.db.QueryRowContext(t.Context(), "SELECT gid FROM orders WHERE id = ?", id).Scan(&gid))
	var req proto.Message = &orderv1.OrderPaymentRequest{OrderId: id}
	if strings.Contains(method, "OrderRefund") {
		req = &orderv1.OrderRefundRequest{OrderId: id}
	}
	return req, tcclaws.Phase(t, s.keys, method, gid, id, req)
}

func (s running) phase(t *testing.T, method, id string) {
	t.Helper()
	req, headers := s.branch(t, method, id)
	require.NoError(t, s.conn.Invoke(metadata.NewOutgoingContext(t.Context(), metadata.New(headers)), method, req, new(emptypb.Empty)))
}
