package stack

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq/rocketmq/remoting"
	"example.com/fourfold/deploy/machine"
	"example.com/fourfold/deploy/system"
)

// TestMain is also the program of the process that brings a stack up and is then killed: see TestDiesWithItsParent.
func TestMain(m *testing.M) {
	if dir := os.Getenv("PARENT_OF"); dir != "" {
		_, err := Up(context.Background(), Options{Dir: dir, RandomPorts: true, Temporary: true})
		fmt.Println("up:", err)
		select {}
	}
	os.Exit(m.Run())
}

// TestLife brings a stack up, kills and stops its processes, takes it down, and brings it up again with its data.
func TestLife(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := t.TempDir()
	o := Options{Dir: dir, RandomPorts: true, Faults: true, Env: map[string]string{"ORDER_TTL": "77m"}}
	s, err := Up(ctx, o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Down(context.Background()) })

	for _, name := range system.Names() {
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

	t.Run("generation", func(t *testing.T) { requireGenerations(t, s) })

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
		require.Len(t, all, len(system.Names())+1, "and the supervisor")
		sum := int64(0)
		for _, p := range all {
			assert.NoError(t, p.Err, p.Name)
			assert.Positive(t, p.PID, p.Name)
			assert.Greater(t, p.Memory, int64(1<<20), p.Name)
			sum += p.Memory
		}
		assert.Less(t, sum, int64(1500<<20), "all of it in 1.5 GB")
	})

	t.Run("environment", func(t *testing.T) {
		pid, err := s.PID(ctx, "order")
		require.NoError(t, err)
		env := machine.Environment(pid)
		assert.Equal(t, "77m", env["ORDER_TTL"], "Options.Env")
		assert.Equal(t, "true", env["FAULTS"])
		assert.Equal(t, s.DSN("shop_order"), env["ORDER_DSN"])
		assert.Equal(t, s.OwnerDSN("shop_order"), env["ORDER_MIGRATE_DSN"])
		for _, foreign := range []string{"INVENTORY_DSN", "INVENTORY_MIGRATE_DSN", "DTM_PASSWORD", "DTM_OWNER_PASSWORD", "MEMBER_SIGNING_KEY"} {
			assert.NotContains(t, env, foreign, "another process's secret")
		}
	})

	t.Run("logins", func(t *testing.T) {
		seeded, err := s.Seed(ctx)
		require.NoError(t, err)
		again, err := s.Seed(ctx)
		require.NoError(t, err)
		assert.Equal(t, seeded, again)
		written, err := system.ReadTarget(dir)
		require.NoError(t, err)
		assert.Equal(t, seeded, written)

		db := openDB(t, s.ReaderDSN("shop_credit"))
		var credit int
		require.NoError(t, db.QueryRowContext(ctx, "SELECT credit FROM credit_account").Scan(&credit))
		assert.Equal(t, 1190, credit)
		_, err = db.ExecContext(ctx, "DELETE FROM credit_account")
		require.ErrorContains(t, err, "denied", "the reader writes")
		require.ErrorContains(t, openDB(t, strings.Replace(s.DSN("shop_order"), "/shop_order", "/shop_credit", 1)).PingContext(ctx),
			"denied", "order reads credit's database")
	})

	t.Run("reader", func(t *testing.T) { requireReader(t, s, dir) })

	t.Run("accounts", func(t *testing.T) { requireAccounts(t, s) })

	t.Run("everything listens on this machine only", func(t *testing.T) {
		for name, port := range ports(s) {
			l, err := net.Listen("tcp", "127.0.0.2:"+port)
			if assert.NoError(t, err, name) {
				_ = l.Close()
			}
		}
		for _, name := range []string{"namesrv", "broker"} {
			pid, err := s.PID(ctx, name)
			require.NoError(t, err)
			at := listening(t, pid)
			assert.Len(t, at, map[string]int{"namesrv": 1, "broker": 3}[name], "%s: %v", name, at)
			for _, addr := range at {
				assert.Regexp(t, "^(0000000000000000FFFF0000)?0100007F:", addr, name)
			}
		}
	})

	t.Run("topics", func(t *testing.T) {
		require.NoError(t, s.Stop(ctx, "broker"))
		require.ErrorContains(t, s.Health(ctx, "broker"), "refused")
		require.NoError(t, s.Start(ctx, "broker"))
		require.NoError(t, s.WaitHealthy(ctx, "broker"))
		requireTopics(t, s)

		require.NoError(t, s.Stop(ctx, "broker"))
		require.NoError(t, os.RemoveAll(filepath.Join(dir, "rocketmq")))
		_, err := Up(ctx, Options{Dir: dir, SkipBuild: true})
		require.NoError(t, err)
		requireTopics(t, s)
	})

	t.Run("found again", func(t *testing.T) {
		pids := func() map[string]int {
			found := map[string]int{}
			for _, name := range system.Names() {
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

		for name, value := range map[string]string{"PORT_GATEWAY": "80000", "ORDER_TTL": "it's"} {
			_, err = Up(ctx, Options{Dir: dir, SkipBuild: true, Env: map[string]string{name: value}})
			require.ErrorContains(t, err, name+"="+value, "it is refused before anything is stopped")
		}
		found, err := Up(ctx, Options{Dir: dir, SkipBuild: true, Env: map[string]string{"ORDER_TTL": "77m", "LIMIT_CALLS": "50"}})
		require.NoError(t, err)
		assert.Equal(t, s.Gateway(), found.Gateway())
		after := pids()
		for name := range before {
			again := name == "credit" || name == "member"
			assert.Equal(t, again, before[name] != after[name], "%s: only what was stopped or built anew starts again", name)
		}
	})

	t.Run("one cannot be healed", func(t *testing.T) {
		pid, err := s.PID(ctx, "redis")
		require.NoError(t, err)
		require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
		defer func() { require.NoError(t, syscall.Kill(pid, syscall.SIGCONT)) }()
		soon, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err = Up(soon, Options{Dir: dir, SkipBuild: true})
		require.ErrorContains(t, err, "redis is not healthy")
		require.ErrorContains(t, err, "`make down` ends what runs")
	})

	t.Run("brought up by another version", func(t *testing.T) {
		require.NoError(t, s.Current(ctx))
		old := maps.Clone(s.vars)
		delete(old, "DTM_ADDR")
		delete(old, fingerprintVariable)
		require.NoError(t, writeVariables(dir, old))
		oneAccount(t, s)
		found, err := Open(dir)
		require.NoError(t, err)
		require.ErrorIs(t, found.Current(ctx), ErrOutdated)
		pid, err := s.PID(ctx, "mariadb")
		require.NoError(t, err)

		env := map[string]string{}
		for name, port := range ports(s) {
			env[name] = port
		}
		var log strings.Builder
		found, err = Up(ctx, Options{Dir: dir, SkipBuild: true, Env: env, Log: &log})
		require.NoError(t, err)
		require.Contains(t, log.String(), "it was brought up by another version")
		require.NoError(t, found.Current(ctx))
		assert.NotEmpty(t, found.Admin("dtm"))
		assert.False(t, alive(pid), "everything was started anew")
		var credit int
		require.NoError(t, openDB(t, found.ReaderDSN("shop_credit")).QueryRowContext(ctx, "SELECT credit FROM credit_account").Scan(&credit))
		assert.Equal(t, 1190, credit, "the data stays")
		requireAccounts(t, found)
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

// requireTopics asks the name server where each topic is.
func requireTopics(t *testing.T, s *Stack) {
	t.Helper()
	topics, err := s.Run(t.Context(), "topics", "-list")
	require.NoError(t, err)
	require.Contains(t, topics, "member-events")
	for topic := range strings.FieldsSeq(topics) {
		route, err := remoting.Ask(t.Context(), s.vars["MQ_NAME_SERVERS"], remoting.TopicRoute, "topic", topic)
		require.NoError(t, err, topic)
		assert.Contains(t, string(route), `"writeQueueNums":4`, topic)
	}
	_, err = remoting.Ask(t.Context(), s.vars["MQ_NAME_SERVERS"], remoting.TopicRoute, "topic", "no-topic")
	require.ErrorContains(t, err, "answers 17")
}

// ports returns the ports of a stack by variable.
func ports(s *Stack) map[string]string {
	found := map[string]string{}
	for name := range system.Ports(1) {
		found[name] = s.vars[name]
	}
	found[system.PortBrokerFast] = s.vars[system.PortBrokerFast]
	return found
}

// listening returns the addresses on which a process listens, as they are in /proc.
func listening(t *testing.T, pid int) (addrs []string) {
	t.Helper()
	inodes := map[string]bool{}
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	require.NoError(t, err)
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil {
			inodes[to] = true
		}
	}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 9 && f[3] == "0A" && inodes["socket:["+f[9]+"]"] {
				addrs = append(addrs, f[1])
			}
		}
	}
	return addrs
}

func openDB(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// TestDiesWithItsParent kills the process that brought a temporary stack up on random ports: nothing of it is left.
func TestDiesWithItsParent(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*healthTimeout)
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
	require.Greater(t, len(members(dir)), len(system.Names()), "and the supervisor")
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.NoError(t, awaitAllGone(ctx, dir))
	gone := func() bool { _, err := os.Stat(dir); return errors.Is(err, fs.ErrNotExist) }
	require.Eventually(t, gone, time.Minute, 20*time.Millisecond, "its folder was temporary")
}

// TestDataOfAnotherVersion: it is refused at once and left as it is.
func TestDataOfAnotherVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "mysql", "ibdata1")
	require.NoError(t, os.Mkdir(filepath.Dir(data), 0o700))
	require.NoError(t, os.WriteFile(data, []byte("kept"), 0o600))
	_, err := Up(t.Context(), Options{Dir: dir, RandomPorts: true})
	require.ErrorContains(t, err, "data of another version")
	require.ErrorContains(t, err, "make down; mv "+dir)
	kept, err := os.ReadFile(data)
	require.NoError(t, err)
	assert.Equal(t, "kept", string(kept))
	assert.Empty(t, members(dir))
}

// TestNotHealthy: the error names a service that cannot start, with its output, and what was started is stopped.
func TestNotHealthy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := Up(t.Context(), Options{Dir: dir, RandomPorts: true, Env: map[string]string{"ORDER_DSN": "nonsense"}})
	require.ErrorContains(t, err, "order is not healthy: it ends again and again (code 1)")
	require.ErrorContains(t, err, "order: mysql.dsn: ", "the end of its log")
	assert.Empty(t, members(dir))

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err = Up(ctx, Options{Dir: dir, RandomPorts: true, SkipBuild: true, Env: map[string]string{"ORDER_DSN": "nonsense"}})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Empty(t, members(dir))
}
