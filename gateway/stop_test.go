package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	accessv1 "example.com/fourfold/api/access/v1"
	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/redistest"
)

// TestStop tests that a gateway that is told to stop says so to the load balancer and goes on serving for a while, ending each connection; then
// it accepts no calls, and answers the one under way before it ends.
func TestStop(t *testing.T) {
	t.Parallel()
	g := startProcess(t, "GATEWAY_LAME_DUCK=700ms", "REDIS_ADDR="+redistest.Start(t).Addr)
	begun, release := make(chan struct{}), make(chan struct{})
	g.shop.get = func(context.Context, *orderv1.GetOrderRequest) (*orderv1.Order, error) {
		close(begun)
		<-release
		return &orderv1.Order{Id: "o1"}, nil
	}
	client := &http.Client{Transport: &http.Transport{}} // which keeps connections
	get := func(path string) (*http.Response, string) {
		resp, err := client.Get("http://" + g.front + path)
		if err != nil {
			return nil, err.Error()
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		assert.NoError(t, err, path)
		return resp, string(body)
	}
	require.Eventually(t, func() bool { resp, _ := get("/readyz"); return resp != nil && resp.StatusCode == 200 }, 10*time.Second,
		20*time.Millisecond, g.log)
	product, _ := get("/v1/products/sku-demo")
	require.Equal(t, 200, product.StatusCode)
	require.False(t, product.Close)

	s := &stage{url: "http://" + g.front, signer: g.signer}
	answered := make(chan said, 1)
	go func() { answered <- s.call(t, "GET", "/v1/orders/o1", s.token(t, "m1", accessv1.Shopper), "") }()
	<-begun
	require.NoError(t, g.cmd.Process.Signal(syscall.SIGTERM))
	told := time.Now()
	require.Eventually(t, func() bool { resp, _ := get("/readyz"); return resp != nil && resp.StatusCode == 503 }, time.Second,
		5*time.Millisecond)
	_, body := get("/readyz")
	assert.JSONEq(t, `{"ready":false,"failed":{"running":"is stopping"}}`, body)
	for range 3 {
		product, body := get("/v1/products/sku-demo")
		require.NotNil(t, product, body)
		assert.Equal(t, 200, product.StatusCode)
		assert.True(t, product.Close, "the next call opens a connection, elsewhere")
	}
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", g.front)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, 5*time.Second, 5*time.Millisecond, "it takes no calls any more")
	assert.Greater(t, time.Since(told), 600*time.Millisecond)
	select {
	case a := <-answered:
		t.Fatalf("the call under way was cut: %+v", a)
	case <-time.After(200 * time.Millisecond):
	}
	close(release)
	assert.Equal(t, 200, (<-answered).code)
	assert.NoError(t, g.cmd.Wait(), g.log)
}
