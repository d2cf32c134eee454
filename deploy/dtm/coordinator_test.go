package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtm-labs/dtm/client/dtmgrpc/dtmgpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/port"
	"example.com/fourfold/chassis/tied"
)

// binary is the program that build.sh built, mariadb the server that most tests share.
var (
	binary  string
	mariadb *mysqltest.Server
	names   atomic.Int64
)

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "fourfold-dtm-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary = filepath.Join(dir, "dtm")
	if out, err := exec.Command("./build.sh", binary).CombinedOutput(); err != nil {
		panic(fmt.Sprintf("build.sh: %v\n%s", err, out))
	}
	if mariadb, err = mysqltest.Start(); err != nil {
		panic(err)
	}
	defer mariadb.Stop()
	return m.Run()
}

// emptyDatabase creates an empty database on s and returns the environment that leads the coordinator there.
func emptyDatabase(t *testing.T, s *mysqltest.Server) []string {
	t.Helper()
	name := fmt.Sprintf("dtm_%d", names.Add(1))
	if err := s.Exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	return []string{"STORE_PORT=" + port, "STORE_DB=" + name}
}

// ownMariaDB returns a server that the test may kill or freeze.
func ownMariaDB(t *testing.T) *mysqltest.Server {
	t.Helper()
	s, err := mysqltest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// coordinator is one process of the real binary, and clients for it.
type coordinator struct {
	dtmgpb.DtmClient
	admin  string
	grpc   string
	env    []string
	cmd    *exec.Cmd
	exited chan error
	output *output
}

// start runs a coordinator with env on ports of its own and waits until it is ready.
func start(t *testing.T, env ...string) *coordinator {
	t.Helper()
	c := launch(t, env...)
	eventually(t, 20*time.Second, "the coordinator is ready", c.ready)
	return c
}

// launch is start without waiting.
func launch(t *testing.T, env ...string) *coordinator {
	t.Helper()
	httpPort, grpcPort := freePort(t), freePort(t)
	c := &coordinator{
		admin: "http://127.0.0.1:" + httpPort,
		grpc:  "127.0.0.1:" + grpcPort,
		env:   append([]string{"PATH=" + os.Getenv("PATH"), "HTTP_PORT=" + httpPort, "GRPC_PORT=" + grpcPort}, env...),
	}
	conn, err := grpc.NewClient("passthrough:///"+c.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c.DtmClient = dtmgpb.NewDtmClient(conn)
	c.run(t)
	t.Cleanup(c.kill)
	return c
}

// run starts the process, also again after a kill, with the same ports and database.
func (c *coordinator) run(t *testing.T) {
	t.Helper()
	c.output = &output{}
	c.cmd = exec.Command(binary)
	c.cmd.Env, c.cmd.Stdout, c.cmd.Stderr = c.env, c.output, c.output
	if err := tied.Start(c.cmd); err != nil {
		t.Fatal(err)
	}
	exited, cmd := make(chan error, 1), c.cmd
	c.exited = exited
	go func() {
		exited <- cmd.Wait()
		close(exited)
	}()
	out := c.output
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the coordinator's output:\n%.4000s", out)
		}
	})
}

// kill ends the process as a crash would.
func (c *coordinator) kill() {
	_ = c.cmd.Process.Kill()
	<-c.exited //nolint:errcheck // it was killed
}

// ready reports the readiness that README.md describes.
func (c *coordinator) ready() bool {
	status, _, err := c.call(http.MethodGet, "/api/dtmsvr/query?gid=ready", nil)
	return err == nil && status == http.StatusOK
}

func (c *coordinator) call(method, path string, body []byte) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.admin+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// status returns the transaction's status, "unknown" when there is none, or why it could not be read.
func (c *coordinator) status(gid string) string {
	r, err := c.query(gid)
	if err != nil {
		return err.Error()
	}
	if r.Transaction == nil {
		return "unknown"
	}
	return r.Transaction.Status
}

// branch returns the state of op of the transaction's only branch.
func (c *coordinator) branch(gid, op string) string {
	r, err := c.query(gid)
	if err != nil {
		return err.Error()
	}
	for _, b := range r.Branches {
		if b.Op == op {
			return b.Status
		}
	}
	return "unknown"
}

type queryReply struct {
	Transaction *struct{ Status string }
	Branches    []struct{ Op, Status string }
}

func (c *coordinator) query(gid string) (r queryReply, err error) {
	code, body, err := c.call(http.MethodGet, "/api/dtmsvr/query?gid="+url.QueryEscape(gid), nil)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("%d: %s", code, body)
	}
	if err == nil {
		err = json.Unmarshal(body, &r)
	}
	return r, err
}

// push makes the transaction due now.
func (c *coordinator) push(t *testing.T, gid string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"gid": gid})
	if err != nil {
		t.Fatal(err)
	}
	code, answer, err := c.call(http.MethodPost, "/api/dtmsvr/resetNextCronTime", body)
	if err != nil || code != http.StatusOK {
		t.Fatalf("resetNextCronTime: %d %s %v", code, answer, err)
	}
}

// output collects what a process writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// eventually waits until holds returns true and fails the test when that does not happen within limit.
func eventually(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// freePort returns a port that is reserved for the test until it ends.
func freePort(t *testing.T) string {
	t.Helper()
	claim, err := port.Take()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(claim.Close)
	return strconv.Itoa(claim.Port)
}
