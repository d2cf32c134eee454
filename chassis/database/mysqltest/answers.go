package mysqltest

import (
	"bytes"
	"net"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// LoseAnswers returns another way to the database dsn: a network that, after each call of lose, passes on the next packet that holds text and
// breaks the connection before its answer. It reports how often it did so.
func LoseAnswers(t testing.TB, dsn, text string) (via string, lose func(), lost func() int64) {
	t.Helper()
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lis.Close() })
	server := cfg.Addr
	var armed, count atomic.Int64
	go func() {
		for {
			client, err := lis.Accept()
			if err != nil {
				return
			}
			go relay(client, server, func(packet []byte) bool {
				if !bytes.Contains(packet, []byte(text)) {
					return true
				}
				if armed.Add(-1) < 0 {
					armed.Add(1)
					return true
				}
				count.Add(1)
				return false
			})
		}
	}()
	cfg.Addr = lis.Addr().String()
	return cfg.FormatDSN(), func() { armed.Add(1) }, count.Load
}

// relay passes packets between client and server until answered returns false for one: that one still reaches the server, and is done there.
func relay(client net.Conn, server string, answered func(packet []byte) bool) {
	defer func() { _ = client.Close() }()
	upstream, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer func() { _ = upstream.Close() }()
	var silent atomic.Bool
	answers := make(chan struct{}, 1) // one of the server's after the connection went silent
	go func() {
		packet := make([]byte, 1<<16)
		for {
			n, err := upstream.Read(packet)
			if silent.Load() {
				answers <- struct{}{}
				return
			}
			if err != nil {
				_ = client.Close()
				return
			}
			if _, err := client.Write(packet[:n]); err != nil {
				return
			}
		}
	}()
	packet := make([]byte, 1<<16)
	for {
		n, err := client.Read(packet)
		if err != nil {
			return
		}
		silent.Store(!answered(packet[:n]))
		if _, err := upstream.Write(packet[:n]); err != nil {
			return
		}
		if silent.Load() {
			<-answers // it is done
			return
		}
	}
}
