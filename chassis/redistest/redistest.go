// Package redistest gives tests a real Redis server.
package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/fourfold/chassis/port"
	"example.com/fourfold/chassis/tied"
)

// Server is a Redis server on 127.0.0.1, without persistence unless the arguments of Start say otherwise.
type Server struct {
	Addr string
	args []string // of redis-server
	cmd  *exec.Cmd
	stop func()
}

// Start runs a server until the test ends. args are added to its command line, for example "--appendonly", "yes". Start fails the test when no
// Redis server is installed.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	claim, err := port.Take()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(claim.Close)
	_, port, err := net.SplitHostPort(claim.Addr())
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Addr: claim.Addr(), stop: func() {}}
	s.args = slices.Concat([]string{"--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", t.TempDir()}, args)
	t.Cleanup(func() { s.Stop() })
	s.Restart(t)
	return s
}

// Stop kills the server, also when it is frozen. What it has on disk stays for Restart. The second time Stop does nothing.
func (s *Server) Stop() { s.stop() }

// Restart kills the server if it runs, and runs it on its port with what it has on disk, which without persistence is nothing.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("the tests need a Redis server: apt-get install redis-server")
	}
	cmd := exec.Command(binary, s.args...)
	if err := tied.Start(cmd); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	s.cmd = cmd
	s.stop = func() {
		_ = cmd.Process.Kill()
		<-ended
	}
	deadline := time.Now().Add(time.Minute)
	for {
		err := s.ping()
		if err == nil {
			return
		}
		select {
		case <-ended:
			t.Fatalf("redis-server ended at once: is %s taken, or one of its arguments wrong? %q", s.Addr, s.args)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("redis-server does not answer: ", err)
		}
	}
}

// Freeze stops the server without closing its connections, until Thaw.
func (s *Server) Freeze(t testing.TB) {
	t.Helper()
	if err := tied.Freeze(s.cmd.Process); err != nil {
		t.Fatal(err)
	}
}

// Thaw lets a frozen server go on.
func (s *Server) Thaw(t testing.TB) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// ping returns an error when the server does not answer within a second, or still reads its data.
func (s *Server) ping() error {
	conn, err := net.DialTimeout("tcp", s.Addr, time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := fmt.Fprint(conn, "PING\r\n"); err != nil {
		return err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && strings.HasPrefix(answer, "-LOADING") {
		err = errors.New(strings.TrimSpace(answer))
	}
	return err
}
