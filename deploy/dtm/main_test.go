package main

import (
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"

	"example.com/fourfold/chassis/database"
)

func TestServesThisMachineOnly(t *testing.T) {
	t.Parallel()
	c := start(t, emptyDatabase(t, mariadb)...)
	if _, err := c.NewGid(t.Context(), &emptypb.Empty{}); err != nil {
		t.Fatal(err)
	}
	addrs := listening(t, c.cmd.Process.Pid)
	if len(addrs) != 2 {
		t.Errorf("it listens on %v; its ports are the HTTP and the gRPC one", addrs)
	}
	for _, addr := range addrs {
		const loopback = "0100007F:" // 127.0.0.1, low byte first
		if !strings.HasPrefix(addr, loopback) {
			t.Errorf("it listens on %s", addr)
		}
	}
}

func TestPlainBuildRefusesToServe(t *testing.T) {
	t.Parallel()
	exposed := filepath.Join(t.TempDir(), "dtm")
	build := exec.Command("go", "build", "-o", exposed, ".")
	build.Env = append(build.Environ(), "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(exposed)
	cmd.Env = []string{"STORE_HOST=127.0.0.1", "STORE_PORT=1"} // nobody is there
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "build.sh") {
		t.Errorf("err %v, output %q", err, out)
	}
}

func TestWaitsForDatabaseAtStart(t *testing.T) {
	t.Parallel()
	db := ownMariaDB(t)
	env := emptyDatabase(t, db)
	db.Kill()
	c := launch(t, env...)
	// Waiting cannot be seen from outside; all that can be seen is that it does not give up.
	select {
	case err := <-c.exited:
		t.Fatalf("it ended: %v\n%s", err, c.output)
	case <-time.After(time.Second):
	}
	if err := db.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "ready", c.ready)
}

func TestBadStartIsExplained(t *testing.T) {
	t.Parallel()
	occupied := start(t, emptyDatabase(t, mariadb)...)
	port := func(addr string) string { return addr[strings.LastIndex(addr, ":")+1:] }
	for name, tt := range map[string]struct {
		env  string
		says string
	}{
		"not a number":     {"RETRY_INTERVAL=soon", `RETRY_INTERVAL="soon"`},
		"no workers":       {"RECOVERY_WORKERS=0", `RECOVERY_WORKERS="0"`},
		"another store":    {"STORE_DRIVER=redis", `STORE_DRIVER="redis"`},
		"no such file":     {"STORE_PASSWORD_FILE=/nowhere", "STORE_PASSWORD_FILE: open /nowhere"},
		"half of TLS":      {"TLS_CERT=/nowhere", "tls.key names no file: set all of TLS_CERT, TLS_KEY and TLS_CA"},
		"no authorities":   {"MYSQL_CA=/nowhere", "MYSQL_CA: open /nowhere"},
		"nobody migrates":  {"STORE_MIGRATE_PASSWORD=x", "STORE_MIGRATE_USER is not"},
		"may not migrate":  {"STORE_MIGRATE_USER=nobody", "STORE_MIGRATE_USER (else STORE_USER) must be an account that may change the tables"},
		"HTTP port in use": {"HTTP_PORT=" + port(occupied.admin), "address already in use"},
		"gRPC port in use": {"GRPC_PORT=" + port(occupied.grpc), "address already in use"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := launch(t, append(emptyDatabase(t, mariadb), tt.env)...)
			select {
			case err := <-c.exited:
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.ExitCode() != 1 {
					t.Errorf("it ended with %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it runs")
			}
			if !strings.Contains(c.output.String(), tt.says) {
				t.Errorf("no %q in: %s", tt.says, c.output)
			}
		})
	}
}

func TestPasswordStaysOutOfTheLog(t *testing.T) {
	t.Parallel()
	env := emptyDatabase(t, mariadb)
	const secret = `not-for: the #log\`
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, stmt := range []string{
		"CREATE OR REPLACE USER coordinator@'127.0.0.1' IDENTIFIED BY '" + strings.ReplaceAll(secret, `\`, `\\`) + "'",
		"GRANT ALL ON *.* TO coordinator@'127.0.0.1'",
	} {
		if err := mariadb.Exec(t.Context(), stmt); err != nil {
			t.Fatal(err)
		}
	}
	c, p := start(t, append(env, "STORE_USER=coordinator", "STORE_PASSWORD_FILE="+file, "LOG_LEVEL=info")...), newParticipant(t)
	prepare(t, c, p, "logged", 8)
	eventually(t, 3*time.Second, "a line about the transaction", func() bool { return strings.Contains(c.output.String(), "logged") })
	if out := c.output.String(); strings.Contains(out, secret) {
		t.Errorf("%s", out)
	}
}

// TestTwoAccounts: a coordinator that runs as a user who reads and writes rows, and migrates as another, does all it has to do, and leaves no
// connection of the other.
func TestTwoAccounts(t *testing.T) {
	t.Parallel()
	env := emptyDatabase(t, mariadb)
	name := strings.TrimPrefix(env[1], "STORE_DB=")
	for _, stmt := range []string{
		"CREATE OR REPLACE USER runs@'127.0.0.1'",
		"CREATE OR REPLACE USER owns@'127.0.0.1' IDENTIFIED BY 'it is mine'",
		"GRANT " + database.Privileges + " ON " + name + ".* TO runs@'127.0.0.1'",
		"GRANT ALL ON " + name + ".* TO owns@'127.0.0.1'",
	} {
		if err := mariadb.Exec(t.Context(), stmt); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("it is mine\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, p := start(t, append(env, "STORE_USER=runs", "STORE_MIGRATE_USER=owns", "STORE_MIGRATE_PASSWORD_FILE="+file)...), newParticipant(t)
	p.serve(t)
	submit(t, c, prepare(t, c, p, "of-two", 8))
	db, err := sql.Open("mysql", mariadb.DSN(name))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	eventually(t, 20*time.Second, "the transaction succeeds", func() bool {
		var status string
		return db.QueryRowContext(t.Context(), "SELECT status FROM trans_global WHERE gid = 'of-two'").Scan(&status) == nil && status == "succeed"
	})
	connected := func(user string) (n int) {
		if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM information_schema.processlist WHERE user = ?", user).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if connected("runs") == 0 || connected("owns") > 0 {
		t.Errorf("%d connections of who runs, %d of who migrates", connected("runs"), connected("owns"))
	}
}

// TestPayloadStaysOutOfTheLog: what a branch is told, and what proves that order told it, is in no line at any level, also when calls fail.
func TestPayloadStaysOutOfTheLog(t *testing.T) {
	t.Parallel()
	c, p := start(t, append(emptyDatabase(t, mariadb), "LOG_LEVEL=debug")...), newParticipant(t)
	const address, mac = "1 Example Street, Hangzhou", "k1.a-mac-that-confirms"
	told := p.branch("01")
	told.payload = protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), address)
	req := request("told", 8, told)
	req.TransOptions.BranchHeaders = map[string]string{"x-branch-mac": mac}
	if _, err := c.Prepare(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	submit(t, c, req)
	eventually(t, 20*time.Second, "a Confirm that fails is logged", func() bool {
		return strings.Contains(c.output.String(), "grpc client called: "+p.addr+"/test.Branch/Confirm01 err: rpc error")
	})
	for _, secret := range []string{address, mac, base64.StdEncoding.EncodeToString(told.payload), hex.EncodeToString(told.payload)} {
		if out := c.output.String(); strings.Contains(out, secret) {
			i := strings.Index(out, secret)
			t.Errorf("%q is in the log: %s", secret, out[max(0, i-300):i+len(secret)])
		}
	}
}

// TestHealth: what a container's health check runs says whether the coordinator answers.
func TestHealth(t *testing.T) {
	t.Parallel()
	c := start(t, emptyDatabase(t, mariadb)...)
	ask := func() ([]byte, error) {
		cmd := exec.Command(binary, "health")
		cmd.Env = c.env
		return cmd.CombinedOutput()
	}
	if said, err := ask(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	c.kill()
	if said, err := ask(); err == nil || !strings.Contains(string(said), "refused") {
		t.Errorf("it is gone: %v: %s", err, said)
	}
}

func TestPoolIsBounded(t *testing.T) {
	t.Parallel()
	env := emptyDatabase(t, mariadb)
	c := start(t, env...)
	name := strings.TrimPrefix(env[1], "STORE_DB=")
	db, err := sql.Open("mysql", mariadb.DSN(name))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1) // LOCK TABLES belongs to its connection
	exec := func(stmt string) {
		if _, err := db.ExecContext(t.Context(), stmt); err != nil {
			t.Fatal(err)
		}
	}
	exec("LOCK TABLES trans_global WRITE")
	var calls sync.WaitGroup
	for i := range 200 {
		calls.Go(func() {
			if _, err := c.Prepare(t.Context(), request(fmt.Sprint("many-", i), 8)); err != nil {
				t.Error(err)
			}
		})
		calls.Go(func() {
			if _, err := c.query(fmt.Sprint("many-", i)); err != nil {
				t.Error(err)
			}
		})
	}
	connections := func() (n int) {
		err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM information_schema.processlist WHERE db = ?", name).Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	const dtm, ours, test = 50, 6 + 2*8, 1
	eventually(t, 5*time.Second, "all connections are busy", func() bool { return connections() >= dtm })
	exec("UNLOCK TABLES")
	calls.Wait()
	if n := connections(); n > dtm+ours+test {
		t.Errorf("%d connections", n)
	}
}

// listening returns the local addresses, as /proc writes them, on which process pid accepts TCP connections.
func listening(t *testing.T, pid int) []string {
	t.Helper()
	own := map[string]bool{}
	fds := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(fds)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if link, err := os.Readlink(filepath.Join(fds, e.Name())); err == nil {
			if inode, ok := strings.CutPrefix(link, "socket:["); ok {
				own[strings.TrimSuffix(inode, "]")] = true
			}
		}
	}
	var addrs []string
	for _, table := range []string{"tcp", "tcp6"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			const listen = "0A"
			if f := strings.Fields(line); len(f) > 9 && f[3] == listen && own[f[9]] {
				addrs = append(addrs, f[1])
			}
		}
	}
	return addrs
}
