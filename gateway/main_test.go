package main

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	accessv1 "example.com/fourfold/api/access/v1"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/service/servicetest"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
)

// TestMain lets the test binary be the gateway itself, in a process of its own.
func TestMain(m *testing.M) {
	if os.Getenv("BE_THE_GATEWAY") != "" {
		main()
		return
	}
	rocketmqtest.Main(m)
}

// process is a gateway in a process of its own, in front of a shop in this one.
type process struct {
	cmd          *exec.Cmd
	front, admin string
	shop         *shop
	signer       *identity.Signer
	log          *log
}

// startProcess starts a gateway with env on top of its configuration.
func startProcess(t *testing.T, env ...string) *process {
	t.Helper()
	keys, signer := servicetest.Keys(t)
	verifier, err := identity.LoadVerifier(keys)
	require.NoError(t, err)
	shop := startShop(t, verifier)
	p := &process{exec.Command(os.Args[0]), servicetest.FreeAddr(t), servicetest.FreeAddr(t), shop, signer, &log{}}
	p.cmd.Env = append(os.Environ(), "BE_THE_GATEWAY=1",
		"GATEWAY_LISTEN="+p.front, "GATEWAY_ADMIN_LISTEN="+p.admin, "IDENTITY_KEYS="+keys, "FAULTS=true",
		"ORDER_ADDR="+shop.addr, "INVENTORY_ADDR="+shop.addr, "CREDIT_ADDR="+shop.addr,
		"MEMBER_ADDR="+shop.addr, "WMS_ADDR="+shop.addr, "NOTIFY_ADDR="+servicetest.FreeAddr(t),
		"MQ_NAME_SERVERS="+servicetest.FreeAddr(t), "QUEUES_ADDR=127.0.0.1:1", "MQ_KEYS="+mqtest.KeyText)
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stderr = p.log
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// TestProcess tests the real process with its built-in configuration and the environment: ready only with its services, metrics, orderly stop.
func TestProcess(t *testing.T) {
	t.Parallel()
	away := servicetest.FreeAddr(t)
	g := startProcess(t, "REDIS_ADDR="+away, "WMS_ADDR="+away)
	front, adminAddr := g.front, g.admin

	get := func(addr, path string) (int, string) {
		resp, err := http.Get("http://" + addr + path)
		if err != nil {
			return 0, err.Error()
		}
		defer func() { _ = resp.Body.Close() }()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	require.Eventually(t, func() bool { code, _ := get(front, "/healthz"); return code == 200 }, 10*time.Second, 20*time.Millisecond, g.log)

	code, body := get(front, "/readyz")
	assert.Equal(t, 503, code)
	assert.JSONEq(t, `{"ready":false,"failed":{"wms":"does not answer"}}`, body, "which part, and no address of it")

	code, body = get(front, "/v1/products/sku-demo")
	assert.Equal(t, 200, code, body)
	s := &stage{url: "http://" + front, signer: g.signer}
	assert.Equal(t, 201, s.call(t, "POST", "/v1/orders", s.token(t, "m1", accessv1.Shopper), anOrder).code)

	_, body = get(adminAddr, "/metrics")
	assert.Contains(t, body, `gateway_call_seconds_count{code="200",operation="/inventory.v1.Catalogue/GetProduct"} 1`)
	code, _ = get(adminAddr, "/faults")
	assert.Equal(t, 200, code)
	code, _ = get(front, "/faults")
	assert.Equal(t, 404, code)

	require.NoError(t, g.cmd.Process.Signal(syscall.SIGTERM))
	assert.NoError(t, g.cmd.Wait(), g.log)
	assert.NotContains(t, g.log.String(), "redis:", "the Redis client says nothing itself")
}
