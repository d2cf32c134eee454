package live_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/go-kratos/kratos/v2/middleware"
	khttp "github.com/go-kratos/kratos/v2/transport/http"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/gateway/internal/live"
)

// TestMain tests that every stream, however it ended, leaves nothing running. The janitor belongs to a library and runs from its start.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/patrickmn/go-cache.(*janitor).Run"))
}

// orders stands in for the order service.
type orders struct {
	grpc.ClientConnInterface
	mu    sync.Mutex
	order *orderv1.Order
	err   error
	reads int
	// during is called within a reading, after the database's part.
	during func()
}

func (o *orders) Invoke(_ context.Context, _ string, _, reply any, _ ...grpc.CallOption) error {
	o.mu.Lock()
	o.reads++
	order, err, during := o.order, o.err, o.during
	o.mu.Unlock()
	if err != nil {
		return err
	}
	proto.Merge(reply.(proto.Message), order)
	if during != nil {
		during()
	}
	return nil
}

func (o *orders) set(version int64, status orderv1.Order_Status) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.order = &orderv1.Order{Id: "o1", Version: version, Status: status}
}

func (o *orders) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
}

func (o *orders) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reads
}

// stage is a server of streams about one order.
type stage struct {
	*orders
	hub     *live.Hub
	url     string
	client  *http.Client
	stop    func()
	metrics *prometheus.Registry
}

func open(t *testing.T, change ...func(*live.Config)) *stage {
	t.Helper()
	cfg := live.Config{Backstop: time.Hour, Heartbeat: time.Hour,
		Patience: 5 * time.Second, PerMember: 5, Total: 8}
	for _, c := range change {
		c(&cfg)
	}
	s := &stage{orders: &orders{}, hub: live.NewHub(cfg), metrics: prometheus.NewRegistry()}
	s.set(1, orderv1.Order_CREATED)
	stopped := make(chan struct{})
	s.stop = sync.OnceFunc(func() { close(stopped) })
	streams, err := live.New(cfg, s.hub, s.orders, new(identity.Endings), stopped, s.metrics)
	require.NoError(t, err)
	arrived := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r.WithContext(service.WithCallContext(r.Context())))
		})
	}
	member := func(next middleware.Handler) middleware.Handler {
		return func(ctx context.Context, req any) (any, error) {
			r, _ := khttp.RequestFromServerContext(ctx)
			return next(identity.NewContext(ctx, identity.Caller{MemberID: r.Header.Get("X-Member")}), req)
		}
	}
	srv := khttp.NewServer(khttp.Timeout(300*time.Millisecond), khttp.Filter(arrived), khttp.Middleware(member))
	srv.Route("/").GET(live.Path, streams.Serve)
	front := httptest.NewUnstartedServer(srv)
	front.Config.ReadTimeout, front.Config.WriteTimeout = 300*time.Millisecond, 300*time.Millisecond
	front.Start()
	s.url, s.client = front.URL, front.Client()
	t.Cleanup(front.Close)
	t.Cleanup(s.stop)
	return s
}

// page is an open page.
type page struct {
	t     *testing.T
	code  int
	lines *bufio.Reader
	close func()
	resp  *http.Response
}

func (s *stage) watch(t *testing.T, headers ...string) *page {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // nothing comes later than that
	req, err := http.NewRequestWithContext(ctx, "GET", s.url+"/v1/orders/o1/events", nil)
	require.NoError(t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.client.Do(req)
	require.NoError(t, err)
	p := &page{t: t, code: resp.StatusCode, lines: bufio.NewReader(resp.Body), resp: resp}
	p.close = func() { cancel(); _ = resp.Body.Close() }
	t.Cleanup(p.close)
	return p
}

// block reads up to the next empty line; "" when the stream has ended.
func (p *page) block() string {
	var lines []string
	for {
		line, err := p.lines.ReadString('\n')
		if err != nil {
			return ""
		}
		if line == "\n" {
			return strings.Join(lines, "|")
		}
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
}

// next returns the next event, as "id status".
func (p *page) next() string {
	p.t.Helper()
	for {
		switch b := p.block(); {
		case b == "":
			return "ended"
		case strings.HasPrefix(b, "event: order|id: "):
			id, data, _ := strings.Cut(strings.TrimPrefix(b, "event: order|id: "), "|data: ")
			var order struct{ Status string }
			require.NoError(p.t, json.Unmarshal([]byte(data), &order))
			return strings.TrimSpace(id + " " + order.Status)
		case strings.HasPrefix(b, "event: end|data: "):
			return strings.TrimPrefix(b, "event: end|data: ")
		}
	}
}

func TestStatesUntilTheEnd(t *testing.T) {
	t.Parallel()
	s := open(t)
	p := s.watch(t)
	assert.Equal(t, 200, p.code)
	assert.Equal(t, "text/event-stream", p.resp.Header.Get("Content-Type"))
	assert.Equal(t, "no", p.resp.Header.Get("X-Accel-Buffering"))
	assert.Equal(t, "retry: 2000", p.block())
	assert.Equal(t, "1 CREATED", p.next())
	for _, c := range []struct {
		version int64
		status  orderv1.Order_Status
		want    string
	}{
		{1, orderv1.Order_UPDATING, "UPDATING"}, {2, orderv1.Order_PAID, "2 PAID"}, {2, orderv1.Order_REFUNDING, "REFUNDING"},
		{2, orderv1.Order_PAID, "2 PAID"}, {3, orderv1.Order_SHIPPED, "3 SHIPPED"}, {4, orderv1.Order_COMPLETED, "4 COMPLETED"},
	} {
		time.Sleep(100 * time.Millisecond) // in all longer than the server's time-outs, which must not end the stream
		s.set(c.version, c.status)
		s.hub.Changed("o1")
		require.Equal(t, c.want, p.next())
	}
	assert.Equal(t, `{"reason":"FINAL"}`, p.next())
	assert.Equal(t, "ended", p.next())
	require.Eventually(t, func() bool { return s.hub.Open() == 0 }, 5*time.Second, time.Millisecond)
	assert.NoError(t, testutil.GatherAndCompare(s.metrics,
		strings.NewReader(`# HELP gateway_streams_ended_total Streams of order events that ended, by cause.
# TYPE gateway_streams_ended_total counter
gateway_streams_ended_total{cause="final"} 1
`), "gateway_streams_ended_total"))
}

// TestNeverBack tests that events that come twice, late or about other orders show nothing, and that nothing older than what was sent is ever
// shown.
func TestNeverBack(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.set(3, orderv1.Order_SHIPPED)
	p := s.watch(t)
	require.Equal(t, "3 SHIPPED", p.next())
	wake := func() {
		before := s.count()
		s.hub.Changed("o1")
		s.hub.Changed("another")
		require.Eventually(t, func() bool { return s.count() > before }, 5*time.Second, time.Millisecond)
	}
	wake()
	s.set(2, orderv1.Order_PAID) // a reading that lags
	wake()
	wake()
	s.set(4, orderv1.Order_COMPLETED)
	wake()
	assert.Equal(t, "4 COMPLETED", p.next())
}

// TestChangeDuringTheFirstReading tests that a change between the first reading and its answer is not lost.
func TestChangeDuringTheFirstReading(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.during = sync.OnceFunc(func() {
		s.set(2, orderv1.Order_PAID)
		s.hub.Changed("o1")
	})
	p := s.watch(t)
	assert.Equal(t, "1 CREATED", p.next())
	assert.Equal(t, "2 PAID", p.next())
}

func TestBackstopAndHeartbeat(t *testing.T) {
	t.Parallel()
	s := open(t, func(c *live.Config) {
		c.Backstop, c.Heartbeat = 50*time.Millisecond, (20 * time.Millisecond)
	})
	p := s.watch(t)
	require.Equal(t, "1 CREATED", p.next())
	assert.Equal(t, ":", p.block())
	s.fail(kerrors.ServiceUnavailable("TRY_LATER", "away"))
	before := s.count()
	require.Eventually(t, func() bool { return s.count() > before }, 5*time.Second, time.Millisecond)
	s.set(2, orderv1.Order_PAID)
	s.fail(nil)
	assert.Equal(t, "2 PAID", p.next(), "nobody told it, and a service that is away for a while ends no stream")
}

func TestLastEventID(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.set(2, orderv1.Order_PAID)
	for last, want := range map[string]string{
		"2": "3 SHIPPED", // it has PAID
		"1": "2 PAID", "": "2 PAID", "x": "2 PAID", "9": "2 PAID", "-1": "2 PAID", "0": "2 PAID",
	} {
		s.set(2, orderv1.Order_PAID)
		p := s.watch(t, "Last-Event-ID", last)
		require.Equal(t, "retry: 2000", p.block())
		if last == "2" {
			before := s.count()
			s.hub.Changed("o1")
			require.Eventually(t, func() bool { return s.count() > before }, 5*time.Second, time.Millisecond)
			s.set(3, orderv1.Order_SHIPPED)
			s.hub.Changed("o1")
		}
		assert.Equal(t, want, p.next(), "Last-Event-ID %q", last)
		p.close()
	}
	s.set(2, orderv1.Order_REFUNDING)
	assert.Equal(t, "REFUNDING", s.watch(t, "Last-Event-ID", "2").next(), "it has the number and not this state")

	s.set(4, orderv1.Order_COMPLETED)
	assert.Equal(t, 204, s.watch(t, "Last-Event-ID", "4").code, "it has the end: browsers do not come back")
	p := s.watch(t, "Last-Event-ID", "3")
	assert.Equal(t, "4 COMPLETED", p.next())
	assert.Equal(t, `{"reason":"FINAL"}`, p.next())
}

func TestLimits(t *testing.T) {
	t.Parallel()
	s := open(t)
	var open []*page
	for _, m := range strings.Split("11111222", "") {
		p := s.watch(t, "X-Member", m)
		require.Equal(t, 200, p.code)
		open = append(open, p)
	}
	assert.Equal(t, 429, s.watch(t, "X-Member", "1").code, "six of one member")
	assert.Equal(t, 503, s.watch(t, "X-Member", "2").code, "nine in all")
	for _, p := range open[:2] {
		p.close()
	}
	require.Eventually(t, func() bool { return s.hub.Open() == 6 }, 5*time.Second, time.Millisecond)
	assert.Equal(t, 200, s.watch(t, "X-Member", "1").code)
	s.fail(kerrors.NotFound("ORDER_NOT_FOUND", "no such order"))
	for range 10 {
		assert.Equal(t, 404, s.watch(t, "X-Member", "3").code, "what is not open does not count")
	}
	assert.Equal(t, 7, s.hub.Open())
}

// TestTokenExpires tests that a client whose token has expired, or whose order is not theirs any more, is told so and shown nothing.
func TestTokenExpires(t *testing.T) {
	t.Parallel()
	s := open(t)
	p := s.watch(t)
	require.Equal(t, "1 CREATED", p.next())
	s.set(2, orderv1.Order_PAID)
	s.fail(kerrors.Unauthorized("TOKEN_INVALID", "expired"))
	s.hub.Changed("o1")
	assert.Equal(t, `{"reason":"TOKEN_INVALID"}`, p.next())
	assert.Equal(t, "ended", p.next())
}

func TestStop(t *testing.T) {
	t.Parallel()
	s := open(t)
	p := s.watch(t)
	require.Equal(t, "1 CREATED", p.next())
	s.stop()
	assert.Regexp(t, `^retry: \d+\|: the gateway stops`, p.block())
	assert.Equal(t, "ended", p.next())
}

// TestSlowReader tests that a client that does not receive what it is sent is dropped, and that nothing is kept for it.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	s := open(t, func(c *live.Config) { c.Patience = 2 * time.Second })
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprintf(conn, "GET /v1/orders/o1/events HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	quick := s.watch(t)
	require.Equal(t, "1 CREATED", quick.next())
	require.Eventually(t, func() bool { return s.hub.Open() == 2 }, 5*time.Second, time.Millisecond)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for quick.next() != "ended" {
		}
	}()
	address := strings.Repeat("x", 1<<20)
	for n := int64(2); s.hub.Open() == 2; n++ {
		require.Less(t, n, int64(1000))
		s.mu.Lock()
		s.order = &orderv1.Order{Id: "o1", Version: n, Status: orderv1.Order_PAID, Address: address}
		s.mu.Unlock()
		s.hub.Changed("o1")
		time.Sleep(20 * time.Millisecond)
	}
	assert.Equal(t, 1, s.hub.Open(), "the other one goes on")
	quick.close()
	<-ended
}

func TestClientLeaves(t *testing.T) {
	t.Parallel()
	s := open(t)
	p := s.watch(t)
	require.Equal(t, "1 CREATED", p.next())
	p.close()
	require.Eventually(t, func() bool { return s.hub.Open() == 0 }, 5*time.Second, time.Millisecond)
}
