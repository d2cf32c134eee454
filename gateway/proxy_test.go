package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	accessv1 "example.com/fourfold/api/access/v1"
	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/port"
	"example.com/fourfold/chassis/tied"
)

// proxy is a program that can stand before the gateway. ${NAME} is filled in: where it listens, the gateway, a folder of its own, and for how
// long it waits for a silent gateway.
type proxy struct {
	program       string
	args          []string
	configuration string
	// It compresses also what is not to be transformed.
	always bool
}

// What these say about streams is in docs/guarantees/clients.md.
var (
	haproxy = proxy{"haproxy", []string{"-db", "-f", "${DIR}/configuration"}, `
global
	maxconn 100
defaults
	mode http
	timeout connect 5s
	timeout client ${SILENCE}
	timeout server ${SILENCE}
	option forwardfor
	option abortonclose
	option http-no-delay
frontend shop
	bind ${LISTEN}
	compression algo gzip
	compression type text/event-stream application/json
	default_backend gateways
backend gateways
	server gateway ${GATEWAY}
`, false}
	nginx = proxy{"nginx", []string{"-e", "stderr", "-p", "${DIR}", "-c", "${DIR}/configuration"}, `
daemon off;
master_process off;
pid ${DIR}/pid;
error_log stderr;
events {
}
http {
	access_log off;
	client_body_temp_path ${DIR}/body;
	proxy_temp_path ${DIR}/proxy;
	fastcgi_temp_path ${DIR}/fastcgi;
	uwsgi_temp_path ${DIR}/uwsgi;
	scgi_temp_path ${DIR}/scgi;
	gzip on;
	gzip_proxied any;
	gzip_types text/event-stream application/json;
	gzip_min_length 1;
	server {
		listen ${LISTEN};
		location / {
			proxy_pass http://${GATEWAY};
			proxy_http_version 1.1;
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
			proxy_read_timeout ${SILENCE};
		}
	}
}
`, true}
)

// start starts the proxy before the gateway at url, and returns its own URL.
func (p proxy) start(t *testing.T, silence time.Duration, url string) string {
	t.Helper()
	claim, err := port.Take()
	require.NoError(t, err)
	t.Cleanup(claim.Close)
	dir := t.TempDir()
	fill := strings.NewReplacer("${LISTEN}", claim.Addr(), "${GATEWAY}", strings.TrimPrefix(url, "http://"), "${DIR}", dir,
		"${SILENCE}", fmt.Sprintf("%ds", int(silence.Seconds()))).Replace
	require.NoError(t, os.WriteFile(filepath.Join(dir, "configuration"), []byte(fill(p.configuration)), 0o600))
	cmd, said := exec.Command(p.program), &log{}
	for _, arg := range p.args {
		cmd.Args = append(cmd.Args, fill(arg))
	}
	cmd.Stdout, cmd.Stderr = said, said
	require.NoError(t, tied.Start(cmd), "the tests need %s: scripts/deploy.sh install", p.program)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", claim.Addr())
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, 20*time.Second, 10*time.Millisecond, said)
	return "http://" + claim.Addr()
}

// TestLiveThroughProxies tests that a page behind a proxy that compresses shows each state at once, stays open by heartbeats alone, and counts
// no longer once it is closed.
func TestLiveThroughProxies(t *testing.T) {
	t.Parallel()
	for _, p := range []proxy{haproxy, nginx} {
		// behind returns a gateway that serves order, and the same behind the proxy.
		behind := func(t *testing.T, order *row, heartbeat, silence time.Duration) (gateway, front *stage) {
			t.Helper()
			order.set(1, orderv1.Order_CREATED)
			s := open(t, func(c *config) { c.Live.Heartbeat, c.Live.PerMember = heartbeat, 1 })
			s.shop.get = order.get
			return s, &stage{url: p.start(t, silence, s.url), signer: s.signer}
		}
		t.Run(p.program, func(t *testing.T) {
			t.Parallel()
			var order row
			s, front := behind(t, &order, time.Hour, time.Minute)
			token := s.token(t, "m1", accessv1.Shopper)
			a := front.call(t, "GET", "/v1/orders/o1", token, "", "Accept-Encoding", "gzip")
			assert.Equal(t, "gzip", a.header.Get("Content-Encoding"), "this proxy compresses: %s", a.body)

			began := time.Now()
			shown := watch(t, front.url, token)
			assert.Equal(t, "CREATED", shown.next(t))
			t.Log("the first event after", time.Since(began))
			assert.Less(t, time.Since(began), 3*time.Second, "a second, and three beside other tests")
			assert.Equal(t, p.always, shown.resp.Uncompressed)
			order.set(2, orderv1.Order_PAID)
			s.hub.Changed("o1")
			assert.Equal(t, "PAID", shown.next(t))

			shown.close()
			require.Eventually(t, func() bool {
				return front.call(t, "HEAD", "/v1/orders/o1/events", token, "").code == 200
			}, 20*time.Second, 20*time.Millisecond, "the closed page still counts")
		})
		t.Run(p.program+" waits", func(t *testing.T) {
			t.Parallel()
			const silence = time.Second
			var order, silent row
			s, front := behind(t, &order, silence/10, silence)
			shown := watch(t, front.url, s.token(t, "m1", accessv1.Shopper))
			assert.Equal(t, "CREATED", shown.next(t))

			s2, front2 := behind(t, &silent, time.Hour, silence)
			dropped := watch(t, front2.url, s2.token(t, "m1", accessv1.Shopper))
			assert.Equal(t, "CREATED", dropped.next(t))
			_, more := <-dropped.states
			assert.False(t, more, "this proxy closes a page without heartbeats")

			select {
			case state, open := <-shown.states:
				t.Fatal(state, open)
			case <-time.After(2 * silence):
			}
			order.set(2, orderv1.Order_PAID)
			s.hub.Changed("o1")
			assert.Equal(t, "PAID", shown.next(t))
		})
	}
}
