package stack

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMain is also the process that brings a stack up and is then killed: see TestDiesWithItsParent.
func TestMain(m *testing.M) {
	if dir := os.Getenv("PARENT_OF"); dir != "" {
		_, err := Up(context.Background(), Options{Dir: dir, RandomPorts: true})
		fmt.Println("up:", err)
		select {}
	}
	os.Exit(m.Run())
}

// TestLife brings a stack up, kills and stops its processes, takes it down, and brings it up again with its data.
func TestLife(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	o := Options{Dir: dir, RandomPorts: true, Faults: true, Env: map[string]string{"ORDER_TTL": "77m"}}
	s, err := Up(ctx, o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Down(context.Background()) })

	for _, name := range Names() {
		t.Run("kill "+name, func(t *testing.T) {
			before, err := s.PID(ctx, name)
			require.NoError(t, err)
			require.NoError(t, s.Kill(ctx, name))
			require.NoError(t, s.WaitHealthy(ctx))
			after, err := s.PID(ctx, name)
			require.NoError(t, err)
			assert.NotEqual(t, before, after)
		})
	}

	t.Run("stop and start", func(t *testing.T) {
		for range 3 {
			require.NoError(t, s.Stop(ctx, "order"))
			require.Error(t, s.Health(ctx, "order"))
			require.ErrorContains(t, s.WaitHealthy(ctx, "order"), "it is stopped")
			require.NoError(t, s.Stop(ctx, "order"), "stopped already")
			require.NoError(t, s.Start(ctx, "order"))
			require.NoError(t, s.Start(ctx, "order"), "started already")
			require.NoError(t, s.WaitHealthy(ctx, "order"))
		}
	})

	t.Run("start while the database is down", func(t *testing.T) {
		require.NoError(t, s.Stop(ctx, "mariadb"))
		require.NoError(t, s.Stop(ctx, "order"))
		require.NoError(t, s.Start(ctx, "order"))
		require.NoError(t, s.Start(ctx, "mariadb"))
		require.NoError(t, s.WaitHealthy(ctx))
	})

	t.Run("status", func(t *testing.T) {
		all, err := s.Status(ctx)
		require.NoError(t, err)
		require.Len(t, all, len(Names())+1, "and the supervisor")
		for _, p := range all {
			assert.NoError(t, p.Err, p.Name)
			assert.Positive(t, p.PID, p.Name)
			assert.Greater(t, p.Memory, int64(1<<20), p.Name)
		}
	})

	t.Run("environment", func(t *testing.T) {
		pid, err := s.PID(ctx, "order")
		require.NoError(t, err)
		env := environment(pid)
		assert.Equal(t, "77m", env["ORDER_TTL"], "Options.Env")
		assert.Equal(t, "true", env["FAULTS"])
		assert.Equal(t, s.DSN("shop_order"), env["ORDER_DSN"])
		for _, foreign := range []string{"INVENTORY_DSN", "DTM_PASSWORD", "MEMBER_SIGNING_KEY"} {
			assert.NotContains(t, env, foreign, "another process's secret")
		}
	})

	t.Run("logins", func(t *testing.T) {
		seeded, err := s.Seed(ctx)
		require.NoError(t, err)
		again, err := s.Seed(ctx)
		require.NoError(t, err)
		assert.Equal(t, seeded, again)

		db := openDB(t, s.ReaderDSN("shop_credit"))
		var credit int
		require.NoError(t, db.QueryRowContext(ctx, "SELECT credit FROM credit_account WHERE member_id = ?", seeded.Shopper.MemberID).Scan(&credit))
		assert.Equal(t, 1190, credit)
		_, err = db.ExecContext(ctx, "DELETE FROM credit_account")
		require.ErrorContains(t, err, "denied", "the reader writes")
		require.ErrorContains(t, openDB(t, strings.Replace(s.DSN("shop_order"), "/shop_order", "/shop_credit", 1)).PingContext(ctx),
			"denied", "order reads credit's database")
	})

	t.Run("everything listens on this machine only", func(t *testing.T) {
		for name, port := range ports(s) {
			l, err := net.Listen("tcp", "127.0.0.2:"+port)
			if assert.NoError(t, err, name) {
				_ = l.Close()
			}
		}
	})

	t.Run("found again", func(t *testing.T) {
		pids := func() map[string]int {
			found := map[string]int{}
			for _, name := range Names() {
				pid, err := s.PID(ctx, name)
				require.NoError(t, err)
				found[name] = pid
			}
			return found
		}
		before := pids()
		require.NoError(t, s.Stop(ctx, "credit"))
		program := filepath.Join(s.root, "bin/member")
		built, err := os.ReadFile(program)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(program+".new", built, 0o755))
		require.NoError(t, os.Rename(program+".new", program))

		found, err := Up(ctx, Options{Dir: dir, SkipBuild: true})
		require.NoError(t, err)
		assert.Equal(t, s.Gateway(), found.Gateway())
		after := pids()
		for name := range before {
			again := name == "credit" || name == "member"
			assert.Equal(t, again, before[name] != after[name], "%s: only what was stopped or built anew starts again", name)
		}
	})

	secret := s.DSN("shop_order")
	require.NoError(t, s.Down(ctx))
	require.Empty(t, members(dir))
	_, err = s.Status(ctx)
	require.ErrorIs(t, err, ErrDown)
	require.NoError(t, s.Down(ctx), "down already")

	o.SkipBuild, o.Env = true, map[string]string{"PORT_MARIADB": s.vars["PORT_MARIADB"]}
	s, err = Up(ctx, o)
	require.NoError(t, err)
	assert.Equal(t, secret, s.DSN("shop_order"), "passwords are made once")

	t.Run("down when the supervisor was killed", func(t *testing.T) {
		for _, m := range members(dir) {
			if m.name == "process-compose" {
				signal(dir, []member{m}, syscall.SIGKILL)
				require.NoError(t, awaitGone(ctx, m.pid))
			}
		}
		require.NotEmpty(t, members(dir))
		_, err := s.Status(ctx)
		require.ErrorContains(t, err, "left over")
		require.NoError(t, s.Down(ctx))
		require.Empty(t, members(dir))
	})
}

// ports are the ports of a stack by name.
func ports(s *Stack) map[string]string {
	found := map[string]string{}
	for name := range defaultPorts {
		found[name] = s.vars["PORT_"+name]
	}
	return found
}

func openDB(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// TestDiesWithItsParent kills the process that brought a stack up on random ports.
func TestDiesWithItsParent(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := t.TempDir()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), "PARENT_OF="+dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _, _ = Down(context.Background(), dir) })

	said, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "up: <nil>\n", said)
	require.Greater(t, len(members(dir)), len(Names()), "and the supervisor")
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.NoError(t, awaitAllGone(ctx, dir))
}

// TestNotHealthy: a service that cannot start is named, with what it said, and what was started is stopped.
func TestNotHealthy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := Up(t.Context(), Options{Dir: dir, RandomPorts: true, SkipBuild: true, Env: map[string]string{"ORDER_DSN": "nonsense"}})
	require.ErrorContains(t, err, "order is not healthy: it ends again and again (code 1)")
	require.ErrorContains(t, err, "order: mysql.dsn: ", "the end of its log")
	assert.Empty(t, members(dir))

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err = Up(ctx, Options{Dir: dir, RandomPorts: true, SkipBuild: true, Env: map[string]string{"ORDER_DSN": "nonsense"}})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Empty(t, members(dir))
}

// TestRefusals: what a machine lacks is said in one sentence with the remedy, and nothing is left running.
func TestRefusals(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	_, taken, _ := net.SplitHostPort(l.Addr().String())

	for name, test := range map[string]struct {
		env  map[string]string
		want string
	}{
		"a port is taken": {map[string]string{"PORT_GATEWAY": taken},
			fmt.Sprintf("port %s is taken by stack.test (process %d): end it, or choose another port by PORT_GATEWAY=", taken, os.Getpid())},
		"a port is no port":         {map[string]string{"PORT_REDIS": "x"}, "PORT_REDIS=x: a port is a number from 1 to 65535"},
		"an offset is too large":    {map[string]string{"PORT_OFFSET": "60000"}, "PORT_OFFSET=60000: it is a number from 0 to 28000"},
		"a value no shell can hold": {map[string]string{"ORDER_TTL": "it's"}, "single quote"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			_, err := Up(t.Context(), Options{Dir: dir, RandomPorts: true, SkipBuild: true, Env: test.env})
			require.ErrorContains(t, err, test.want)
			assert.Empty(t, members(dir))
		})
	}
	t.Run("a small machine", func(t *testing.T) {
		require.NoError(t, tooSmall(2<<30, 3<<30, "/data"))
		require.EqualError(t, tooSmall(400<<20, 1<<30, "/data"),
			"400 MB of memory are free and 1.5 GB are needed: end something, or give this machine more\n"+
				"1.0 GB of disk are free at /data and 2.0 GB are needed: make room there")
	})
	t.Run("a folder with a quote", func(t *testing.T) {
		_, err := Up(t.Context(), Options{Dir: t.TempDir() + "/it's"})
		require.ErrorContains(t, err, "use another one")
	})
	t.Run("nothing there", func(t *testing.T) {
		_, err := Open(t.TempDir())
		require.ErrorContains(t, err, "make up")
		ran, err := Down(t.Context(), t.TempDir()+"/none")
		require.NoError(t, err)
		assert.False(t, ran)
	})
}
