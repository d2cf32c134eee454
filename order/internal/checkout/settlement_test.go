package checkout_test

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"

	branchv1 "example.com/fourfold/api/branch/v1"
	creditv1 "example.com/fourfold/api/credit/v1"
	inventoryv1 "example.com/fourfold/api/inventory/v1"
	orderv1 "example.com/fourfold/api/order/v1"
	wmsv1 "example.com/fourfold/api/wms/v1"
	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
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
			return fmt.Errorf("injected")
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
	keys        tcc.Keys
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
	s.keys, err = tcc.ParseKeys("k1:00112233445566778899aabbccddeeff")
	require.NoError(t, err)
	s.payment = payment.New(tcc.NewParticipant("order", s.db, s.keys), s.store)
	own := s.serve(t, s.db, func(g *grpc.Server) { orderv1.RegisterOrderPaymentServer(g, s.payment) })

	addrs := map[string]string{}
	for name, register := range map[string]func(*grpc.Server, *peer){
		"inventory": func(g *grpc.Server, p *peer) { inventoryv1.RegisterStockFreezeServer(g, freeze{peer: p}) },
		"credit":    func(g *grpc.Server, p *peer) { creditv1.RegisterCreditGrantServer(g, grant{peer: p}) },
		"wms":       func(g *grpc.Server, p *peer) { wmsv1.RegisterDeliverySlipServer(g, slip{peer: p}) },
	} {
		db := mysqltest.Open(t, migrations.FS, mq.Tables()) // for the barrier
		_, err := db.ExecContext(t.Context(), "CREATE TABLE held (gid VARBINARY(64) NOT NULL PRIMARY KEY, state VARCHAR(16) NOT NULL)")
		require.NoError(t, err)
		p := &peer{Participant: tcc.NewParticipant(name, db, s.keys), db: db}
		s.peers[name] = p
		addrs[name] = s.serve(t, db, func(g *grpc.Server) { register(g, p) })
	}
	s.conns, err = participant.Dial(addrs)
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
	s.coordinator, err = tcc.Dial("127.0.0.1:1", admin.URL, s.keys)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.coordinator.Close() })
	conn, err := service.Dial(own)
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
	g := grpc.NewServer()
	register(g)
	branchv1.RegisterBarrierServer(g, tcc.NewBarrier(s.keys, db))
	go func() { _ = g.Serve(lis) }()
	t.Cleanup(g.Stop)
	return lis.Addr().String()
}

// hold makes an order whose payment is open since 20 s, and brings its branches as far as states say: inventory, credit, wms, each a letter: - for
// none, T, C for confirmed, X for canceled.
func (s *shop) hold(t *testing.T, id string, status tcc.Status, states string) (gid string) {
	t.Helper()
	gid = "gid-" + id
	o, err := order.New(id, "m", "", []order.Line{{SKU: "a", Name: "a", PriceCents: 500, Quantity: 2}})
	require.NoError(t, err)
	require.NoError(t, s.store.Create(t.Context(), o, time.Hour, func(*sql.Tx, order.Order) error { return nil }))
	opened, err := s.store.OpenAttempt(t.Context(), order.Payment, "m", id, gid)
	require.NoError(t, err)
	require.True(t, opened)
	_, err = s.db.ExecContext(t.Context(), "UPDATE payment_attempt SET created_at = NOW(3) - INTERVAL 20 SECOND WHERE gid = ?", gid)
	require.NoError(t, err)
	s.said.Store(gid, status)
	md := metadata.New(s.keys.Headers(gid, id))
	md.Set("dtm-gid", gid)
	md.Set("dtm-branch_id", "01")
	md.Set("dtm-op", "try")
	_, err = s.payment.Try(metadata.NewIncomingContext(t.Context(), md), id)
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

// TestSettle: what the coordinator says and what each service has decide which decisions are possible. One that is not changes nothing; one that
// is ends the same way in all, and the second time finds nothing open.
func TestSettle(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	const refused = ""
	for n, tt := range []struct {
		says     tcc.Status
		states   string
		decision checkout.Decision
		ends     string
	}{
		{tcc.Unknown, "TTT", checkout.Confirm, "PAID CCC"},
		{tcc.Unknown, "TTT", checkout.Cancel, "CANCELED XXX"},
		{tcc.Unknown, "T-T", checkout.Cancel, "CANCELED X-X"},
		{tcc.Unknown, "---", checkout.Cancel, "CANCELED ---"},
		{tcc.Unknown, "TCC", checkout.Confirm, "PAID CCC"},
		{tcc.Unknown, "TTX", checkout.Cancel, "CANCELED XXX"},
		{tcc.Unknown, "TTC", checkout.Cancel, refused},
		{tcc.Unknown, "TTX", checkout.Confirm, refused},
		{tcc.Unknown, "XTC", checkout.Confirm, refused},
		{tcc.Unknown, "XTC", checkout.Cancel, refused},
		{tcc.Unknown, "T-T", checkout.Confirm, refused},
		{tcc.Unknown, "T-T", checkout.Try, "UPDATING TTT"},
		{tcc.Unknown, "T-X", checkout.Try, refused},
		{tcc.Unknown, "TTT", checkout.Try, refused},
		{tcc.Succeeded, "TTT", checkout.Confirm, "PAID CCC"},
		{tcc.Succeeded, "TTT", checkout.Cancel, refused},
		{tcc.Failed, "TTT", checkout.Cancel, "CANCELED XXX"},
		{tcc.Failed, "TTT", checkout.Confirm, refused},
		{tcc.Failed, "T-T", checkout.Try, refused},
		{tcc.Prepared, "TTT", checkout.Confirm, refused},
		{tcc.Prepared, "T-T", checkout.Try, refused},
		{tcc.Submitted, "TTT", checkout.Confirm, refused},
		{tcc.Submitted, "T-C", checkout.Try, "UPDATING TTC"},
		{tcc.Aborting, "TTT", checkout.Cancel, refused},
	} {
		what := fmt.Sprintf("%s, %s, %s", tt.says, tt.states, tt.decision)
		id := fmt.Sprintf("o%d", n)
		s.hold(t, id, tt.says, tt.states)
		standing, err := s.Settle(t.Context(), id, tt.decision)
		if tt.ends == refused {
			require.ErrorAs(t, err, &checkout.Refused{}, what)
			assert.NotEmpty(t, err.Error(), what)
			assert.Equal(t, "UPDATING "+tt.states, s.reads(t, id), what)
			continue
		}
		require.NoError(t, err, what)
		for _, b := range standing.Branches {
			require.NoError(t, b.Err, "%s: %s", what, b.Service)
		}
		assert.Equal(t, tt.ends, s.reads(t, id), what)
		if tt.decision == checkout.Try {
			continue
		}
		_, err = s.Settle(t.Context(), id, tt.decision)
		require.ErrorIs(t, err, checkout.ErrNothingOpen, what)
	}

	// Too young, not held, or nothing open.
	gid := s.hold(t, "young", tcc.Unknown, "TTT")
	_, err := s.db.ExecContext(t.Context(), "UPDATE payment_attempt SET created_at = NOW(3) WHERE gid = ?", gid)
	require.NoError(t, err)
	_, err = s.Settle(t.Context(), "young", checkout.Cancel)
	require.ErrorContains(t, err, "wait")
	_, err = s.db.ExecContext(t.Context(), "UPDATE payment_attempt SET created_at = NOW(3) - INTERVAL 20 SECOND WHERE gid = ?", gid)
	require.NoError(t, err)
	_, err = s.db.ExecContext(t.Context(), "UPDATE orders SET gid = 'another' WHERE id = 'young'")
	require.NoError(t, err)
	_, err = s.Settle(t.Context(), "young", checkout.Cancel)
	require.ErrorContains(t, err, "not held")
	assert.Equal(t, "UPDATING TTT", s.reads(t, "young"))
	_, err = s.Settle(t.Context(), "nobody's", checkout.Cancel)
	require.ErrorIs(t, err, checkout.ErrNothingOpen)
}

// TestSettleHalfWay: when a service fails, those after it are not called, the other decision is refused, and the second call ends what the first
// began.
func TestSettleHalfWay(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.hold(t, "o", tcc.Unknown, "TTT")
	s.peers["credit"].away.Store(true)
	standing, err := s.Settle(t.Context(), "o", checkout.Cancel)
	require.NoError(t, err)
	states := map[string]tcc.State{}
	for _, b := range standing.Branches {
		states[b.Service] = b.State
		assert.Equal(t, b.Service == "credit", b.Err != nil, "%s: %v", b.Service, b.Err)
	}
	assert.Equal(t, map[string]tcc.State{"order": tcc.Tried, "inventory": tcc.Tried, "credit": tcc.Tried, "wms": tcc.Canceled}, states)
	assert.Equal(t, "UPDATING TTX", s.reads(t, "o"))
	_, err = s.Settle(t.Context(), "o", checkout.Confirm)
	require.ErrorContains(t, err, "wms is canceled")
	s.peers["credit"].away.Store(false)
	_, err = s.Settle(t.Context(), "o", checkout.Cancel)
	require.NoError(t, err)
	assert.Equal(t, "CANCELED XXX", s.reads(t, "o"))

	// A row that the barrier counts as tried and that is gone: reported, and nothing is changed in that service and those after it.
	gid := s.hold(t, "lost", tcc.Unknown, "TTT")
	_, err = s.peers["credit"].db.ExecContext(t.Context(), "DELETE FROM held WHERE gid = ?", gid)
	require.NoError(t, err)
	standing, err = s.Settle(t.Context(), "lost", checkout.Confirm)
	require.NoError(t, err)
	assert.Equal(t, "BRANCH_NOT_TRIED", kerrors.Reason(standing.Branches[2].Err), "%v", standing.Branches[2].Err)
	assert.Equal(t, "UPDATING T-C", s.reads(t, "lost"))
}

// TestTwoOperators: two who decide differently at the same time end the same way in all services.
func TestTwoOperators(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	ended := map[string]int{}
	for n := range 20 {
		id := fmt.Sprintf("o%d", n)
		s.hold(t, id, tcc.Unknown, "TTT")
		var wg sync.WaitGroup
		start := make(chan struct{})
		for _, d := range []checkout.Decision{checkout.Confirm, checkout.Cancel} {
			wg.Go(func() {
				<-start
				_, _ = s.Settle(context.WithoutCancel(t.Context()), id, d) // the rows tell
			})
		}
		close(start)
		wg.Wait()
		ended[s.reads(t, id)]++
	}
	delete(ended, "PAID CCC")
	delete(ended, "CANCELED XXX")
	assert.Empty(t, ended)
}

// TestRefusal: of every combination of what the coordinator says and how far each branch has come, none may be ended in two ways, and each that
// has not ended in two ways already can be ended.
func TestRefusal(t *testing.T) {
	t.Parallel()
	states := []tcc.State{tcc.None, tcc.Tried, tcc.Confirmed, tcc.Canceled}
	checked := 0
	for _, status := range []tcc.Status{tcc.Unknown, tcc.Prepared, tcc.Submitted, tcc.Aborting, tcc.Succeeded, tcc.Failed} {
		for n := range 64 {
			branches := []checkout.BranchStanding{{Service: "order", State: tcc.Tried}}
			has := map[tcc.State]bool{}
			for i, name := range []string{"inventory", "credit", "wms"} {
				state := states[n>>(2*i)&3]
				branches = append(branches, checkout.BranchStanding{Service: name, State: state})
				has[state] = true
			}
			s := checkout.Standing{OpenAttempt: mysql.OpenAttempt{Held: true, Age: time.Minute},
				Coordinator: status, Branches: branches}
			what := fmt.Sprintf("%s, %v", status, branches)
			may := map[checkout.Decision]bool{}
			for _, d := range checkout.Decisions() {
				may[d] = s.Refusal(d) == ""
			}
			if may[checkout.Confirm] {
				assert.False(t, has[tcc.None] || has[tcc.Canceled] || status == tcc.Failed, what)
			}
			if may[checkout.Cancel] {
				assert.False(t, has[tcc.Confirmed] || status == tcc.Succeeded, what)
			}
			if may[checkout.Try] {
				assert.True(t, has[tcc.None] && !has[tcc.Canceled], what)
			}
			if status == tcc.Prepared || status == tcc.Aborting || status == tcc.Submitted {
				assert.False(t, may[checkout.Confirm] || may[checkout.Cancel], what)
			} else if status == tcc.Unknown && !(has[tcc.Confirmed] && has[tcc.Canceled]) {
				assert.True(t, may[checkout.Confirm] || may[checkout.Cancel] || may[checkout.Try], "it can be ended: "+what)
			}
			for _, wrong := range []func(*checkout.Standing){
				func(s *checkout.Standing) { s.Held = false }, func(s *checkout.Standing) { s.Age = 14 * time.Second },
			} {
				not := s
				wrong(&not)
				for d := range maps.Keys(may) {
					assert.NotEmpty(t, not.Refusal(d), what)
				}
			}
			checked++
		}
	}
	assert.Equal(t, 6*64, checked)
}
