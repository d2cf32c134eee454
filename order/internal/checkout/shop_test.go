package checkout_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	branchv1 "example.com/fourfold/api/branch/v1"
	creditv1 "example.com/fourfold/api/credit/v1"
	inventoryv1 "example.com/fourfold/api/inventory/v1"
	orderv1 "example.com/fourfold/api/order/v1"
	wmsv1 "example.com/fourfold/api/wms/v1"
	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/mtls"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/order/internal/checkout"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
	"example.com/fourfold/order/internal/participant"
	"example.com/fourfold/order/internal/payment"
	"example.com/fourfold/order/migrations"
)

// peer is a participant that keeps one row a transaction. Its barrier is the real one.
type peer struct {
	*tcc.Participant
	db   *sql.DB
	away atomic.Bool
}

func (p *peer) phase(ctx context.Context, phase tcc.Phase, orderID string) (*emptypb.Empty, error) {
	return p.Run(ctx, phase, orderID, func(tx *sql.Tx, gid string) error {
		if p.away.Load() {
			return errors.New("injected")
		}
		if phase == tcc.Try {
			_, err := tx.ExecContext(ctx, "INSERT INTO held (gid, state) VALUES (?, 'TRIED')", gid)
			return err
		}
		to := map[tcc.Phase]tcc.State{tcc.Confirm: tcc.Confirmed, tcc.Cancel: tcc.Canceled}[phase]
		res, err := tx.ExecContext(ctx, "UPDATE held SET state = ? WHERE gid = ? AND state = 'TRIED'", to, gid)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return tcc.ErrNotTried
		}
		return nil
	})
}

// The three, as their protos have them.
type (
	freeze struct {
		inventoryv1.UnimplementedStockFreezeServer
		*peer
	}
	grant struct {
		creditv1.UnimplementedCreditGrantServer
		*peer
	}
	slip struct {
		wmsv1.UnimplementedDeliverySlipServer
		*peer
	}
)

func (f freeze) Try(ctx context.Context, r *inventoryv1.StockFreezeRequest) (*emptypb.Empty, error) {
	return f.phase(ctx, tcc.Try, r.GetOrderId())
}

func (f freeze) Confirm(ctx context.Context, r *inventoryv1.StockFreezeRequest) (*emptypb.Empty, error) {
	return f.phase(ctx, tcc.Confirm, r.GetOrderId())
}

func (f freeze) Cancel(ctx context.Context, r *inventoryv1.StockFreezeRequest) (*emptypb.Empty, error) {
	return f.phase(ctx, tcc.Cancel, r.GetOrderId())
}

func (g grant) Try(ctx context.Context, r *creditv1.CreditGrantRequest) (*emptypb.Empty, error) {
	return g.phase(ctx, tcc.Try, r.GetOrderId())
}

func (g grant) Confirm(ctx context.Context, r *creditv1.CreditGrantRequest) (*emptypb.Empty, error) {
	return g.phase(ctx, tcc.Confirm, r.GetOrderId())
}

func (g grant) Cancel(ctx context.Context, r *creditv1.CreditGrantRequest) (*emptypb.Empty, error) {
	return g.phase(ctx, tcc.Cancel, r.GetOrderId())
}

func (s slip) Try(ctx context.Context, r *wmsv1.DeliverySlipRequest) (*emptypb.Empty, error) {
	return s.phase(ctx, tcc.Try, r.GetOrderId())
}

func (s slip) Confirm(ctx context.Context, r *wmsv1.DeliverySlipRequest) (*emptypb.Empty, error) {
	return s.phase(ctx, tcc.Confirm, r.GetOrderId())
}

func (s slip) Cancel(ctx context.Context, r *wmsv1.DeliverySlipRequest) (*emptypb.Empty, error) {
	return s.phase(ctx, tcc.Cancel, r.GetOrderId())
}

// shop is order over its real database, and the other three over a database each, under a coordinator that says what the test lets it say.
type shop struct {
	*checkout.Checkout
	db          *sql.DB
	store       *mysql.Store
	keys        mac.Keys
	payment     *payment.Payment
	coordinator *tcc.Coordinator
	peers       map[string]*peer
	conns       participant.Peers
	said        sync.Map // gid → tcc.Status
}

func openShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{db: mysqltest.Open(t, migrations.FS, mq.Tables(), alert.Tables()), peers: map[string]*peer{}}
	s.store = mysql.NewStore(s.db, mqtest.Absent(t, s.db, "order"))
	var err error
	s.keys, err = mac.Parse("k1:00112233445566778899aabbccddeeff")
	require.NoError(t, err)
	s.payment = payment.New(tcc.NewParticipant("order", s.db, s.keys), s.store)
	own := s.serve(t, s.db, func(g *grpc.Server) { orderv1.RegisterOrderPaymentServer(tcc.Registrar(g), s.payment) })

	addrs := map[string]string{}
	for name, register := range map[string]func(*grpc.Server, *peer){
		"inventory": func(g *grpc.Server, p *peer) {
			inventoryv1.RegisterStockFreezeServer(tcc.Registrar(g), freeze{peer: p})
		},
		"credit": func(g *grpc.Server, p *peer) { creditv1.RegisterCreditGrantServer(tcc.Registrar(g), grant{peer: p}) },
		"wms":    func(g *grpc.Server, p *peer) { wmsv1.RegisterDeliverySlipServer(tcc.Registrar(g), slip{peer: p}) },
	} {
		db := mysqltest.Open(t, migrations.FS, mq.Tables()) // for the barrier
		_, err := mysqltest.Owner(t, db).ExecContext(t.Context(), "CREATE TABLE held (gid VARBINARY(64) NOT NULL PRIMARY KEY, state VARCHAR(16) NOT NULL)")
		require.NoError(t, err)
		p := &peer{Participant: tcc.NewParticipant(name, db, s.keys), db: db}
		s.peers[name] = p
		addrs[name] = s.serve(t, db, func(g *grpc.Server) { register(g, p) })
	}
	s.conns, err = participant.Dial(addrs, mtls.Config{})
	require.NoError(t, err)
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, ok := s.said.Load(r.URL.Query().Get("gid"))
		if !ok || status == tcc.Unknown {
			_, _ = w.Write([]byte(`{"branches": [], "transaction": null}`))
			return
		}
		_, _ = fmt.Fprintf(w, `{"transaction": {"status": %q}}`, status)
	}))
	t.Cleanup(admin.Close)
	s.coordinator, err = tcc.Dial("127.0.0.1:1", admin.URL, mtls.Config{}, s.keys)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.coordinator.Close() })
	conn, err := service.Dial(own, mtls.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	refund := payment.NewRefund(tcc.NewParticipant("order-refund", s.db, s.keys), s.store)
	s.Checkout = checkout.New(s.store, s.coordinator, s.payment, refund, own, conn, s.conns, checkout.Times{Call: 5 * time.Second})
	return s
}

// serve serves what register adds, and the barrier of db, and returns its address.
func (s *shop) serve(t *testing.T, db *sql.DB, register func(*grpc.Server)) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g := grpc.NewServer(tcc.ServerOption())
	register(g)
	branchv1.RegisterBarrierServer(g, tcc.NewBarrier(s.keys, db))
	go func() { _ = g.Serve(lis) }()
	t.Cleanup(g.Stop)
	return lis.Addr().String()
}

// hold makes an order whose payment is open since 20 s, and brings its branches as far as states say: inventory, credit, wms, each a letter: -
// for none, T, C for confirmed, X for canceled.
func (s *shop) hold(t *testing.T, id string, status tcc.Status, states string) (gid string) {
	t.Helper()
	gid = "gid-" + id
	o, err := order.New(id, "m", "", []order.Line{{SKU: "a", Name: "a", PriceCents: 500, Quantity: 2}})
	require.NoError(t, err)
	require.NoError(t, s.store.Create(t.Context(), o, time.Hour, 0, func(*sql.Tx, order.Order) error { return nil }))
	_, opened, err := s.store.OpenAttempt(t.Context(), order.Payment, "m", id, gid)
	require.NoError(t, err)
	require.True(t, opened)
	_, err = s.db.ExecContext(t.Context(), "UPDATE payment_attempt SET created_at = NOW(3) - INTERVAL 20 SECOND WHERE gid = ?", gid)
	require.NoError(t, err)
	s.said.Store(gid, status)
	payload, err := proto.Marshal(&orderv1.OrderPaymentRequest{OrderId: id})
	require.NoError(t, err)
	try := tcc.Call{GID: gid, Branch: "01", Phase: tcc.Try, Service: orderv1.OrderPayment_ServiceDesc.ServiceName, Subject: id, Payload: payload}
	_, err = s.payment.Try(tcc.LocalContext(t.Context(), try.Service, payload, try.Headers(s.keys)), id)
	require.NoError(t, err)
	for i, p := range s.conns {
		b := p.Of(order.Payment)
		call := func(phase tcc.Phase, method string) {
			t.Helper()
			require.NoError(t, s.coordinator.Call(t.Context(), p.Conn, gid, fmt.Sprintf("%02d", i+2), id, phase, method, b.Request(o)))
		}
		if states[i] != '-' {
			call(tcc.Try, b.Try)
		}
		switch states[i] {
		case 'C':
			call(tcc.Confirm, b.Confirm)
		case 'X':
			call(tcc.Cancel, b.Cancel)
		}
	}
	return gid
}

// reads returns the order's status and the states of the other three, as hold has them.
func (s *shop) reads(t *testing.T, id string) string {
	t.Helper()
	state, err := s.store.State(t.Context(), id)
	require.NoError(t, err)
	text := string(state.Status) + " "
	for _, p := range s.conns {
		row := mysqltest.Dump(t, s.peers[p.Name].db, "SELECT state FROM held WHERE gid = 'gid-"+id+"'")
		text += map[string]string{"": "-", "TRIED\n": "T", "CONFIRMED\n": "C", "CANCELED\n": "X"}[strings.TrimSuffix(row, "--\n")]
	}
	return text
}
