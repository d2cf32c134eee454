package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	memberv1 "example.com/fourfold/api/member/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/tied"
	"example.com/fourfold/member/internal/member"
	"example.com/fourfold/member/internal/mysql"
	"example.com/fourfold/member/internal/password"
)

// environment returns cfg as the command reads it.
func environment(cfg config) []string {
	return append(os.Environ(),
		"MEMBER_TEST_COMMAND=1",
		"MEMBER_LISTEN="+cfg.GRPC.Addr, "MEMBER_ADMIN_LISTEN="+cfg.Admin.Addr,
		"IDENTITY_KEYS="+cfg.IdentityKeys, "MEMBER_SIGNING_KEY="+cfg.SigningKey,
		"MEMBER_DSN="+cfg.MySQL.DSN, "MEMBER_MIGRATE_DSN="+cfg.MySQL.MigrateDSN, "TOKEN_TTL=1h", "FAULTS=true",
		"MQ_NAME_SERVERS="+cfg.MQ.NameServers, "QUEUES_ADDR=127.0.0.1:1", "MQ_KEYS="+mqtest.KeyText,
	)
}

// process is the service as a process of its own.
type process struct {
	cmd *exec.Cmd
	out bytes.Buffer
}

func start(t *testing.T, env []string) *process {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	p := &process{cmd: exec.Command(exe)}
	p.cmd.Env = env
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	require.NoError(t, tied.Start(p.cmd))
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// terminate stops the process as an operator does, and returns all that it wrote.
func (p *process) terminate(t *testing.T) string {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, p.cmd.Wait(), "an orderly stop exits with 0")
	return p.out.String()
}

// runSeed runs "member seed" with args and the password.
func runSeed(t *testing.T, cfg config, secret string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, append([]string{"seed"}, args...)...)
	cmd.Env = append(environment(cfg), "SEED_PASSWORD="+secret)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	assert.NotContains(t, out.String()+errOut.String(), "correct horse")
	return out.String(), errOut.String(), err
}

func operator(email string) []string {
	return []string{"-role", "operator", "-login", email, "-phone", "+8613800138000", "-name", "操作员 One"}
}

func TestSeed(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	first, stderr, err := runSeed(t, cfg, "correct horse", operator("Operator@example.com")...)
	require.NoError(t, err, stderr)
	assert.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\n$`, first)

	second, stderr, err := runSeed(t, cfg, "another password", operator("operator@example.com")...)
	require.NoError(t, err, stderr)
	assert.Equal(t, first, second)

	db, err := database.Open(cfg.MySQL)
	require.NoError(t, err)
	defer func() { _ = db.Close() }()
	assert.Equal(t, "0\n--\n", mysqltest.Dump(t, db, "SELECT COUNT(*) FROM mq_outbox"), "who is seeded did not sign up")
	m, hash, err := mysql.NewStore(db).ByLogin(t.Context(), member.Login{Email: "operator@example.com"})
	require.NoError(t, err)
	assert.Equal(t, first, m.ID+"\n")
	assert.Equal(t, member.Operator, m.Role)
	assert.Equal(t, "操作员 One", m.Name)
	passwords, err := password.NewHasher(0)
	require.NoError(t, err)
	for secret, want := range map[string]bool{"correct horse": true, "another password": false} {
		got, _, err := passwords.Match(t.Context(), secret, hash)
		require.NoError(t, err)
		assert.Equal(t, want, got, "the password of who is there is left alone")
	}

	for name, c := range map[string]struct {
		secret string
		args   []string
		want   string
	}{
		"no password":    {"", operator("new@example.com"), "SEED_PASSWORD"},
		"short password": {"short", operator("new@example.com"), "8 to 128"},
		"phone taken":    {"correct horse", operator("new@example.com"), "belongs to another member"},
		"not an email":   {"correct horse", operator("new"), "email"},
		"unknown role": {"correct horse", []string{"-role", "admin", "-login", "a@example.com", "-phone", "+8613800138009", "-name", "A"},
			"role"},
		"other role": {"correct horse", []string{"-login", "operator@example.com", "-phone", "+8613800138000", "-name", "A"},
			"is there already as operator"},
		"stray word":   {"correct horse", []string{"now"}, `"now"`},
		"unknown flag": {"correct horse", []string{"-password", "x"}, "-password"},
	} {
		stdout, stderr, err := runSeed(t, cfg, c.secret, c.args...)
		require.Error(t, err, name)
		assert.Contains(t, stderr, c.want, name)
		assert.Empty(t, stdout, name)
	}
}

// TestSeedsAtOnce tests concurrent seeds: on an empty database only one of them runs the migration.
func TestSeedsAtOnce(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	var group sync.WaitGroup
	ids := make([]string, 4)
	for i := range ids {
		group.Go(func() {
			stdout, stderr, err := runSeed(t, cfg, "correct horse", operator("operator@example.com")...)
			assert.NoError(t, err, stderr)
			ids[i] = stdout
		})
	}
	group.Wait()
	for _, id := range ids {
		assert.Equal(t, ids[0], id)
		assert.Equal(t, 1, strings.Count(id, "\n"))
	}
}

// TestDatabaseAway tests that the answer is 503 without its reasons while the database is gone, and that afterwards all is as before.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	server, err := mysqltest.Start()
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	require.NoError(t, server.Exec(t.Context(), "CREATE DATABASE shop_member"))
	cfg := testConfig(t)
	cfg.MySQL = database.Config{DSN: server.DSN("shop_member")} // one account
	p := start(t, environment(cfg))
	members := dial(t, cfg.GRPC.Addr)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	signIn := func() error {
		_, err := members.SignIn(ctx, &memberv1.SignInRequest{Login: "ann@example.com", Password: "correct horse"})
		return err
	}
	_, err = members.SignUp(ctx, ann())
	require.NoError(t, err)

	server.Kill()
	err = signIn()
	assert.Equal(t, 503, kerrors.Code(err), "%v", err)
	assert.NotContains(t, err.Error(), server.Addr)

	require.NoError(t, server.Restart())
	require.NoError(t, signIn())
	p.terminate(t)
}
