package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	accessv1 "example.com/fourfold/api/access/v1"
	eventv1 "example.com/fourfold/api/event/v1"
	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/redistest"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
)

// row is an order of m1's at the shop.
type row struct {
	mu    sync.Mutex
	order *orderv1.Order
}

func (r *row) set(version int64, status orderv1.Order_Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.order = &orderv1.Order{Id: "o1", Version: version, Status: status}
}

func (r *row) get(ctx context.Context, req *orderv1.GetOrderRequest) (*orderv1.Order, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if identity.FromContext(ctx).MemberID != "m1" || req.GetId() != "o1" {
		return nil, orderv1.ErrorOrderNotFound("no such order")
	}
	return r.order, nil
}

// page is an order's open page: each state that it shows.
type page struct {
	resp   *http.Response
	states chan string
	close  func()
}

func watch(t *testing.T, url, token string) *page {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", url+"/v1/orders/o1/events", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	slow := time.AfterFunc(30*time.Second, cancel) // a proxy may keep the headers back, too
	resp, err := http.DefaultClient.Do(req)
	slow.Stop()
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	p := &page{resp, make(chan string, 100), func() { cancel(); _ = resp.Body.Close() }}
	t.Cleanup(p.close)
	go func() {
		defer close(p.states)
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			var said struct{ Status, Reason string }
			if ok && json.Unmarshal([]byte(data), &said) == nil {
				p.states <- said.Status + said.Reason
			}
		}
	}()
	return p
}

// next returns the next state, within some seconds.
func (p *page) next(t *testing.T) string {
	t.Helper()
	select {
	case state := <-p.states:
		return state
	case <-time.After(30 * time.Second):
		t.Fatal("nothing came")
	}
	return ""
}

// follow lets stages follow the broker's events, and returns a function that publishes an event of o1.
func follow(t *testing.T, server *rocketmqtest.Server, stages ...*stage) (publish func(version int64, kind string) error) {
	t.Helper()
	server.Create(t, eventv1.TopicOrders)
	for _, s := range stages {
		broker, ended := server.Broker(t, "gateway"), make(chan struct{})
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			defer close(ended)
			assert.NoError(t, s.hub.Follow(ctx, broker))
		}()
		t.Cleanup(func() { cancel(); <-ended })
	}
	broker := server.Dial(t)
	return func(version int64, kind string) error {
		return broker.Publish(t.Context(), eventv1.TopicOrders,
			mq.Event{ID: mq.NewID(), Source: "/order", Type: kind, Subject: "o1", Sequence: version})
	}
}

// TestLive tests that pages at two gateways show each state once and in order while events come repeatedly and out of order, and nothing but
// events tells the gateways.
func TestLive(t *testing.T) {
	t.Parallel()
	first, second := open(t), open(t)
	var order row
	order.set(1, orderv1.Order_CREATED)
	first.shop.get, second.shop.get = order.get, order.get
	publish := follow(t, rocketmqtest.Shared(t), first, second)
	var pages []*page
	for _, s := range []*stage{first, second} {
		for range 2 {
			p := watch(t, s.url, s.token(t, "m1", accessv1.Shopper))
			assert.Equal(t, "CREATED", p.next(t))
			pages = append(pages, p)
		}
	}
	order.set(2, orderv1.Order_PAID)
	// A gateway receives only what comes after it began to listen: the first event is repeated until all have it.
	shown := make(map[*page]bool)
	require.Eventually(t, func() bool {
		require.NoError(t, publish(2, eventv1.TypeOrderPaid))
		for _, p := range pages {
			select {
			case state := <-p.states:
				assert.Equal(t, "PAID", state)
				shown[p] = true
			case <-time.After(50 * time.Millisecond):
			}
		}
		return len(shown) == len(pages)
	}, 30*time.Second, time.Millisecond)
	order.set(3, orderv1.Order_SHIPPED)
	for _, late := range []int64{2, 3, 1, 3, 2} {
		require.NoError(t, publish(late, eventv1.TypeOrderShipped))
	}
	for _, p := range pages {
		assert.Equal(t, "SHIPPED", p.next(t))
	}
	order.set(4, orderv1.Order_COMPLETED)
	began := time.Now()
	require.NoError(t, publish(4, eventv1.TypeOrderCompleted))
	for _, p := range pages {
		assert.Equal(t, "COMPLETED", p.next(t))
	}
	t.Log("from publishing to all four pages:", time.Since(began))
	assert.Less(t, time.Since(began), 5*time.Second)
	for _, p := range pages {
		assert.Equal(t, "FINAL", p.next(t))
		_, more := <-p.states
		assert.False(t, more)
	}
}

// TestLiveWithoutBroker tests that the backstop shows changes while the broker is away, and events do again when it is back.
func TestLiveWithoutBroker(t *testing.T) {
	t.Parallel()
	server, err := rocketmqtest.Start()
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	s := open(t, func(c *config) { c.Live.Backstop = 500 * time.Millisecond })
	events := open(t) // without a backstop
	var order row
	order.set(1, orderv1.Order_CREATED)
	s.shop.get, events.shop.get = order.get, order.get
	publish := follow(t, server, s, events)
	p := watch(t, s.url, s.token(t, "m1", accessv1.Shopper))
	without := watch(t, events.url, events.token(t, "m1", accessv1.Shopper))
	require.Equal(t, "CREATED", p.next(t))
	require.Equal(t, "CREATED", without.next(t))
	server.Kill()
	order.set(2, orderv1.Order_PAID)
	began := time.Now()
	assert.Equal(t, "PAID", p.next(t))
	assert.Less(t, time.Since(began), 5*time.Second)
	assert.Empty(t, without.states)
	require.NoError(t, server.Restart())
	require.Eventually(t, func() bool {
		_ = publish(2, eventv1.TypeOrderPaid)
		return len(without.states) > 0
	}, 60*time.Second, 100*time.Millisecond)
	assert.Equal(t, "PAID", without.next(t))
}

// TestLiveTurnedAway tests that the order service decides whose page it is, before anything is sent, and that refusals have the error form.
func TestLiveTurnedAway(t *testing.T) {
	t.Parallel()
	s := open(t, limited, func(c *config) { c.Live.PerMember = 2 })
	var order row
	order.set(1, orderv1.Order_CREATED)
	s.shop.get = order.get
	mine := s.token(t, "m1", accessv1.Shopper)
	const path = "/v1/orders/o1/events"
	for _, c := range []struct {
		path, token string
		code        int
		reason      string
	}{
		{path, "", 401, "TOKEN_MISSING"},
		{path, "garbage", 401, "TOKEN_INVALID"},
		{path, s.token(t, "m2", accessv1.Shopper), 404, "ORDER_NOT_FOUND"},
		{"/v1/orders/o2/events", mine, 404, "ORDER_NOT_FOUND"},
		{path + "?x=1", mine, 400, "FIELD_INVALID"},
	} {
		a := s.call(t, "GET", c.path, c.token, "")
		assert.Equal(t, c.code, a.code, "%+v: %s", c, a.body)
		assert.Equal(t, c.reason, a.Reason)
	}
	assert.Equal(t, 405, s.call(t, "POST", path, mine, "").code)
	for range 2 {
		watch(t, s.url, mine)
	}
	a := s.call(t, "GET", path, mine, "")
	assert.Equal(t, 429, a.code)
	assert.Equal(t, "TOO_MANY_STREAMS", a.Reason)
	assert.Equal(t, "5", a.header.Get("Retry-After"))
	s.drain(t, 20, 0, "GET", path, mine, "")
	last := s.drain(t, 20, 0, "GET", "/v1/orders/o1", mine, "")
	assert.Equal(t, "TOO_MANY_REQUESTS", last.Reason, "opening counts as a call")
	s.shop.stop()
	assert.Equal(t, 503, s.call(t, "GET", path, s.token(t, "m3", accessv1.Shopper), "").code)
}

// TestLiveOutlivesTimeouts tests that a stream does not count as a call that takes too long.
func TestLiveOutlivesTimeouts(t *testing.T) {
	t.Parallel()
	s := open(t, func(c *config) { c.HTTP.Timeout = 300 * time.Millisecond })
	var order row
	order.set(1, orderv1.Order_CREATED)
	s.shop.get = order.get
	p := watch(t, s.url, s.token(t, "m1", accessv1.Shopper))
	require.Equal(t, "CREATED", p.next(t))
	assert.Equal(t, "no-store, no-transform", p.resp.Header.Get("Cache-Control"))
	select {
	case state, open := <-p.states:
		t.Fatal(state, open)
	case <-time.After(time.Second):
	}
	order.set(2, orderv1.Order_CANCELED)
	s.hub.Changed("o1")
	assert.Equal(t, "CANCELED", p.next(t))
}

// TestStopUnderStreams tests that open pages do not delay a stop, though the broker was never there.
func TestStopUnderStreams(t *testing.T) {
	t.Parallel()
	g := startProcess(t, "GATEWAY_LAME_DUCK=3s", "REDIS_ADDR="+redistest.Start(t).Addr)
	var order row
	order.set(1, orderv1.Order_CREATED)
	g.shop.get = order.get
	s := &stage{url: "http://" + g.front, signer: g.signer}
	token := s.token(t, "m1", accessv1.Shopper)
	require.Eventually(t, func() bool {
		resp, err := http.Get(s.url + "/healthz")
		if err == nil {
			_ = resp.Body.Close()
		}
		return err == nil
	}, 10*time.Second, 20*time.Millisecond, g.log)
	var pages []*page
	for range 5 {
		p := watch(t, s.url, token)
		require.Equal(t, "CREATED", p.next(t))
		pages = append(pages, p)
	}
	began := time.Now()
	require.NoError(t, g.cmd.Process.Signal(syscall.SIGTERM))
	for _, p := range pages {
		_, open := <-p.states
		assert.False(t, open)
	}
	assert.Less(t, time.Since(began), 2*time.Second, "within the lame duck's time")
	assert.NoError(t, g.cmd.Wait(), g.log)
	assert.Less(t, time.Since(began), 8*time.Second)
}

// TestEndedTokens tests that a token that was ended opens no door any more, and closes the page that it opened, and that no other token does.
func TestEndedTokens(t *testing.T) {
	t.Parallel()
	s := open(t, func(c *config) { c.Live.Backstop = 50 * time.Millisecond })
	var order row
	order.set(1, orderv1.Order_CREATED)
	s.shop.get = order.get
	token := func(member string, epoch int64) string {
		token, err := s.signer.Sign(identity.Caller{MemberID: member, Role: accessv1.Shopper, Epoch: epoch}, time.Now(), time.Hour)
		require.NoError(t, err)
		return token
	}
	old, other := watch(t, s.url, token("m1", 1)), watch(t, s.url, token("m1", 2))
	assert.Equal(t, "CREATED", old.next(t))
	assert.Equal(t, "CREATED", other.next(t))
	s.endings.Set(map[string]int64{"m1": 2})
	assert.Equal(t, "TOKEN_INVALID", old.next(t))
	for _, path := range []string{"/v1/orders/o1", "/v1/orders/o1/events", "/v1/products/x"} {
		for _, epoch := range []int64{0, 1} {
			assert.Equal(t, "TOKEN_INVALID", s.call(t, "GET", path, token("m1", epoch), "").Reason, path)
		}
	}
	assert.Equal(t, 200, s.call(t, "GET", "/v1/orders/o1", token("m1", 2), "").code)
	assert.Equal(t, 200, s.call(t, "GET", "/v1/products/x", token("m2", 0), "").code)
	order.set(2, orderv1.Order_PAID)
	assert.Equal(t, "PAID", other.next(t))
}
