package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"example.com/fourfold/gateway/internal/limit"
)

// TestSlowClients: whoever says nothing, says it slowly or does not read is served for a bounded time, and then costs nothing. The table that
// it logs is in docs/guarantees/clients.md.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	g := startProcess(t, "GATEWAY_WRITE_TIMEOUT=3s")
	metric := func(name string) float64 {
		resp, err := http.Get("http://" + g.admin + "/metrics")
		if err != nil {
			return 0
		}
		defer func() { _ = resp.Body.Close() }()
		text, _ := io.ReadAll(resp.Body)
		found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(text)
		if found == nil {
			return 0
		}
		n, _ := strconv.ParseFloat(string(found[1]), 64)
		return n
	}
	require.Eventually(t, func() bool { return metric("go_goroutines") > 0 }, 20*time.Second, 20*time.Millisecond, g.log)
	before := metric("go_goroutines")

	const many = 40
	var table strings.Builder
	for _, kind := range []struct {
		name string
		// begin sends what the client sends at first, and each what it goes on with, "" for nothing.
		begin, each string
		reads       bool
		within      time.Duration
	}{
		{"says nothing", "", "", true, 5 * time.Second},
		{"sends its headers slowly", "GET /v1/products/x HTTP/1.1\r\nHost: x\r\n", "X-Slow: 1\r\n", true, 5 * time.Second},
		{"sends its body slowly", "POST /v1/members HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n", " ", true,
			10 * time.Second},
		{"does not read its answer", "GET /docs/swagger-ui/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n", "", false, 3 * time.Second},
	} {
		began := time.Now()
		var conns []net.Conn
		for range many {
			conn, err := (&net.Dialer{Control: smallWindow}).DialContext(t.Context(), "tcp", g.front)
			require.NoError(t, err)
			t.Cleanup(func() { _ = conn.Close() })
			_, err = io.WriteString(conn, kind.begin)
			require.NoError(t, err)
			conns = append(conns, conn)
		}
		var wg sync.WaitGroup
		for _, conn := range conns {
			wg.Go(func() {
				if kind.reads {
					go func() { _, _ = io.Copy(io.Discard, conn) }()
				}
				for kind.each != "" {
					if _, err := io.WriteString(conn, kind.each); err != nil {
						return
					}
					time.Sleep(200 * time.Millisecond) // that is what a slow client does
				}
			})
		}
		require.Eventually(t, func() bool { return metric("go_goroutines") > before+many/2 }, 5*time.Second, 20*time.Millisecond, kind.name)
		peak, memory := metric("go_goroutines"), metric("process_resident_memory_bytes")
		require.Eventually(t, func() bool { return metric("go_goroutines") < before+10 }, kind.within+20*time.Second, 50*time.Millisecond, kind.name)
		took := time.Since(began)
		assert.Less(t, took, kind.within+10*time.Second, kind.name)
		wg.Wait()
		fmt.Fprintf(&table, "| %s | %.1f s | %.1f | %.0f MB |\n", kind.name, took.Seconds(), (peak-before)/many, memory/(1<<20))
	}
	t.Logf("%d clients at once\n| client | served for | goroutines each | the process' memory |\n|---|---:|---:|---:|\n%s", many, &table)
}

// TestHalfClosed: a client that has said all it has to say is answered.
func TestHalfClosed(t *testing.T) {
	t.Parallel()
	s := open(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	said, err := io.ReadAll(conn)
	require.NoError(t, err, "and the server closes")
	assert.Contains(t, string(said), "200 OK")
}

// TestListen: a dead peer is noticed in time, and one address does not take all connections.
func TestListen(t *testing.T) {
	t.Parallel()
	proxies, err := limit.ParseProxies("127.0.0.2")
	require.NoError(t, err)
	l, err := listen("127.0.0.1:0", 30*time.Second, 3, proxies)
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	accepted := make(chan net.Conn, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	from := func(ip string) net.Conn {
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}).DialContext(t.Context(), "tcp", l.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	refused := func(conn net.Conn) bool {
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		_, err := conn.Read(make([]byte, 1))
		return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
	}
	var served []net.Conn
	for range 3 {
		from("127.0.0.1")
		served = append(served, <-accepted)
	}
	assert.True(t, refused(from("127.0.0.1")), "a fourth")
	from("127.0.0.3")
	<-accepted
	for range 10 {
		from("127.0.0.2") // a proxy of ours
		<-accepted
	}
	require.NoError(t, served[0].Close())
	_ = served[0].Close()
	from("127.0.0.1")
	<-accepted
	assert.True(t, refused(from("127.0.0.1")))

	raw, err := served[1].(*countedConn).Conn.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		unacknowledged, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		assert.NoError(t, err)
		assert.Equal(t, 30000, unacknowledged, "milliseconds")
		idle, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
		assert.NoError(t, err)
		assert.Equal(t, 15, idle, "seconds until the first of two probes")
	}))
}
