package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-kratos/kratos/contrib/middleware/validate/v2"
	"github.com/go-kratos/kratos/v2/middleware"
	"github.com/go-kratos/kratos/v2/middleware/recovery"
	"github.com/go-kratos/kratos/v2/transport"
	kgrpc "github.com/go-kratos/kratos/v2/transport/grpc"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	creditv1 "example.com/fourfold/api/credit/v1"
	inventoryv1 "example.com/fourfold/api/inventory/v1"
	memberv1 "example.com/fourfold/api/member/v1"
	mqv1 "example.com/fourfold/api/mq/v1"
	orderv1 "example.com/fourfold/api/order/v1"
	wmsv1 "example.com/fourfold/api/wms/v1"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/mtls"
	"example.com/fourfold/chassis/redistest"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/service/servicetest"
	"example.com/fourfold/chassis/telemetry"
	"example.com/fourfold/gateway/internal/limit"
	"example.com/fourfold/gateway/internal/live"
	"example.com/fourfold/gateway/internal/upstream"
)

// shop stands in for the services: their interfaces, behind the same middleware as the real ones.
type shop struct {
	memberv1.UnimplementedMembersServer
	inventoryv1.UnimplementedCatalogueServer
	creditv1.UnimplementedCreditsServer
	wmsv1.UnimplementedWarehouseServer
	mqv1.UnimplementedMessagesServer
	orders

	addr     string
	verifier *identity.Verifier
	calls    atomic.Int64
	stop     func()
}

type orders struct {
	orderv1.UnimplementedOrdersServer
	get func(context.Context, *orderv1.GetOrderRequest) (*orderv1.Order, error)
}

func (o orders) GetOrder(ctx context.Context, r *orderv1.GetOrderRequest) (*orderv1.Order, error) {
	return o.get(ctx, r)
}

func (orders) CreateOrder(ctx context.Context, _ *orderv1.CreateOrderRequest) (*orderv1.Order, error) {
	if tr, ok := transport.FromServerContext(ctx); ok {
		tr.ReplyHeader().Set(service.CodeHeader, "201")
	}
	return &orderv1.Order{Id: "o1", Status: orderv1.Order_CREATED, TotalCents: 1000, MemberId: identity.FromContext(ctx).MemberID}, nil
}

// SignIn answers where the call came from.
func (*shop) SignIn(ctx context.Context, _ *memberv1.SignInRequest) (*memberv1.SignInReply, error) {
	return &memberv1.SignInReply{AccessToken: service.Address(ctx), ExpiresIn: 3600}, nil
}

func (*shop) GetProduct(_ context.Context, r *inventoryv1.GetProductRequest) (*inventoryv1.Product, error) {
	return &inventoryv1.Product{Sku: r.Sku, PriceCents: 500, Sellable: 98}, nil
}

func (*shop) SetOpen(_ context.Context, r *wmsv1.SetOpenRequest) (*wmsv1.WarehouseState, error) {
	return &wmsv1.WarehouseState{Open: r.GetOpen()}, nil
}

func (*shop) ListDeadLetters(context.Context, *mqv1.ListDeadLettersRequest) (*mqv1.ListDeadLettersReply, error) {
	return &mqv1.ListDeadLettersReply{DeadLetters: []*mqv1.DeadLetter{{Id: "wms-1"}}}, nil
}

// log is a log to look into.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// stage is a gateway with everything around it.
type stage struct {
	shop  *shop
	redis *redistest.Server
	log   *log
	url   string

	signer *identity.Signer

	endings *identity.Endings
	hub     *live.Hub
	told    chan struct{}
}

// open starts a stage; the limits are off unless change sets them.
func open(t *testing.T, change ...func(*config)) *stage {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	verifier := identity.NewVerifier(map[string]ed25519.PublicKey{"k1": public})
	s := &stage{shop: startShop(t, verifier), redis: redistest.Start(t), log: &log{}, signer: identity.NewSigner("k1", private),
		told: make(chan struct{})}

	var cfg config
	cfg.HTTP.Timeout = 10 * time.Second
	// Streams read nothing unless an event tells them to.
	cfg.Live = live.Config{Backstop: time.Hour, Heartbeat: time.Hour,
		Patience: 5 * time.Second, PerMember: 5, Total: 1000}
	for _, c := range change {
		c(&cfg)
	}
	// A long timeout, so that a busy machine does not look like a Redis that is away.
	rdb, err := limit.Open(limit.Config{Addr: s.redis.Addr, Timeout: 5 * time.Second})
	require.NoError(t, err)
	t.Cleanup(func() { _ = rdb.Close() })
	logger := slog.New(telemetry.Handler(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	probes := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "probe "+r.URL.Path) })
	p := parts{
		log: logger, probes: probes, verifier: verifier, metrics: prometheus.NewRegistry(),
		stopping: func() bool { return false },
	}
	p.limiter, err = limit.New(rdb, logger, p.metrics)
	require.NoError(t, err)
	addrs := map[string]string{}
	for _, u := range upstream.Services() {
		addrs[u.Name] = s.shop.addr
	}
	conns, err := connect(addrs, mtls.Config{})
	require.NoError(t, err)
	t.Cleanup(conns.close)
	p.upstreams = conns.upstreams(20*time.Second, logger)
	s.hub = live.NewHub(cfg.Live)
	s.endings = new(identity.Endings)
	p.verifier = verifier.Heed(s.endings)
	p.streams, err = live.New(cfg.Live, s.hub, conns["order"], s.endings, s.told, p.metrics)
	require.NoError(t, err)
	srv, err := newServer(cfg, p)
	require.NoError(t, err)
	front := httptest.NewUnstartedServer(srv)
	front.Config.ReadHeaderTimeout, front.Config.ReadTimeout, front.Config.IdleTimeout = srv.ReadHeaderTimeout, srv.ReadTimeout, srv.IdleTimeout
	front.Start()
	t.Cleanup(front.Close)
	t.Cleanup(func() { close(s.told) })
	s.url = front.URL
	return s
}

func startShop(t *testing.T, verifier *identity.Verifier) *shop {
	t.Helper()
	s := &shop{addr: servicetest.FreeAddr(t), verifier: verifier}
	s.get = func(_ context.Context, r *orderv1.GetOrderRequest) (*orderv1.Order, error) {
		return &orderv1.Order{Id: r.Id}, nil
	}
	s.start(t)
	return s
}

// start serves at s.addr until stop.
func (s *shop) start(t *testing.T) {
	t.Helper()
	count := func(next middleware.Handler) middleware.Handler {
		return func(ctx context.Context, req any) (any, error) {
			s.calls.Add(1)
			return next(ctx, req)
		}
	}
	server := kgrpc.NewServer(kgrpc.Address(s.addr), kgrpc.Timeout(0),
		kgrpc.Middleware(count, recovery.Recovery(), identity.Guard(s.verifier), validate.ProtoValidate()))
	orderv1.RegisterOrdersServer(server, &s.orders)
	memberv1.RegisterMembersServer(server, s)
	inventoryv1.RegisterCatalogueServer(server, s)
	creditv1.RegisterCreditsServer(server, s)
	wmsv1.RegisterWarehouseServer(server, s)
	mqv1.RegisterMessagesServer(server, s)
	_, err := server.Endpoint() // listens
	require.NoError(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Start(context.Background())
	}()
	s.stop = func() {
		server.Server.Stop()
		<-ended
	}
	t.Cleanup(s.stop)
}

func (s *stage) token(t *testing.T, member string, role identity.Role) string {
	t.Helper()
	token, err := s.signer.Sign(identity.Caller{MemberID: member, Role: role}, time.Now(), time.Hour)
	require.NoError(t, err)
	return token
}

// said is an answer of the gateway.
type said struct {
	code   int
	header http.Header
	body   string
	// The error form.
	Code            int
	Reason, Message string
	Metadata        map[string]string
}

// call makes a call with a token, none when it is empty, and further headers in pairs.
func (s *stage) call(t *testing.T, method, path, token, body string, headers ...string) said {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	require.NoError(t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	a := said{code: resp.StatusCode, header: resp.Header, body: string(text)}
	if resp.StatusCode >= 400 && method != http.MethodHead {
		require.Equal(t, "application/json", resp.Header.Get("Content-Type"), a.body)
		require.NoError(t, json.Unmarshal(text, &a), a.body)
		require.Equal(t, resp.StatusCode, a.Code, "code in the body")
		require.NotEmpty(t, a.Reason)
		require.NotEmpty(t, a.Message)
		require.NotNil(t, a.Metadata)
	}
	return a
}
