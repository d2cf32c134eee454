package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	memberv1 "example.com/fourfold/api/member/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/service/servicetest"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
	"example.com/fourfold/member/internal/mysql"
	"example.com/fourfold/member/internal/rpc"
)

// TestMain also runs the command itself, for the tests that start it as a process.
func TestMain(m *testing.M) {
	if os.Getenv("MEMBER_TEST_COMMAND") != "" {
		main()
		return
	}
	rocketmqtest.Main(m)
}

// keys writes a new key pair and returns the private key's file and the public keys' folder.
func keys(t *testing.T) (signingKey, identityKeys string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	privateDER, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	publicDER, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	identityKeys = t.TempDir()
	signingKey = filepath.Join(t.TempDir(), "k1.pem")
	for path, block := range map[string]*pem.Block{
		signingKey:                            {Type: "PRIVATE KEY", Bytes: privateDER},
		filepath.Join(identityKeys, "k1.pem"): {Type: "PUBLIC KEY", Bytes: publicDER},
	} {
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(block), 0o600))
	}
	return signingKey, identityKeys
}

// testConfig returns the built-in configuration with addresses, keys and a database of the test's own.
func testConfig(t *testing.T) config {
	t.Helper()
	var cfg config
	require.NoError(t, service.Load("", defaults, &cfg))
	cfg.GRPC.Addr, cfg.Admin.Addr = servicetest.FreeAddr(t), servicetest.FreeAddr(t)
	cfg.SigningKey, cfg.IdentityKeys = keys(t)
	cfg.MySQL = mysqltest.Config(t)
	cfg.MQ.NameServers = "127.0.0.1:1" // no broker listens there
	cfg.MQ.Queues.Addr = "127.0.0.1:1"
	cfg.MQ.Keys = mqtest.Keys()
	return cfg
}

func dial(t *testing.T, addr string) memberv1.MembersClient {
	t.Helper()
	return memberv1.NewMembersClient(servicetest.Dial(t, addr))
}

func withToken(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

func ann() *memberv1.SignUpRequest {
	return &memberv1.SignUpRequest{Phone: "+8613800138000", Email: "Ann@Example.com", Name: "Ann", Password: "correct horse"}
}

func TestDefaults(t *testing.T) {
	for _, name := range []string{"MEMBER_LISTEN", "MEMBER_ADMIN_LISTEN", "LOG_LEVEL", "FAULTS", "IDENTITY_KEYS",
		"MEMBER_SIGNING_KEY", "TOKEN_TTL", "MEMBER_DSN", "MQ_NAME_SERVERS"} {
		t.Setenv(name, "")
	}
	var cfg config
	require.NoError(t, service.Load("", defaults, &cfg))
	assert.Equal(t, "127.0.0.1:9005", cfg.GRPC.Addr)
	assert.Equal(t, 10*time.Second, cfg.GRPC.Timeout)
	assert.Equal(t, "127.0.0.1:9105", cfg.Admin.Addr)
	assert.Equal(t, "info", cfg.Log.Level)
	assert.False(t, cfg.Faults)
	assert.Equal(t, "../var/keys/identity", cfg.IdentityKeys)
	assert.Equal(t, "../var/keys/member/k1.pem", cfg.SigningKey)
	assert.Equal(t, time.Hour, cfg.TokenTTL)
	assert.Equal(t, "root@tcp(127.0.0.1:13306)/shop_member", cfg.MySQL.DSN)
	assert.Equal(t, 10, cfg.MySQL.MaxConns)
	assert.Equal(t, "127.0.0.1:9876", cfg.MQ.NameServers)
	assert.Equal(t, 168*time.Hour, cfg.Keep.Messages)
	assert.Equal(t, 50, cfg.Passwords.Waiting)
	assert.Equal(t, rpc.Guesses{Strangers: mysql.Rate{PerHour: 10, Burst: 10}, Owner: mysql.Rate{PerHour: 60, Burst: 20}}, cfg.Guesses)
}

// TestServe runs the service on a real database and calls it over gRPC.
func TestServe(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	servicetest.Serve(t, func(ctx context.Context) error { return serve(ctx, cfg) })
	members := dial(t, cfg.GRPC.Addr)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var header metadata.MD
	signed, err := members.SignUp(ctx, ann(), grpc.Header(&header))
	require.NoError(t, err)
	assert.Equal(t, []string{"201"}, header.Get("x-http-code"))

	header = nil
	again, err := members.SignUp(ctx, ann(), grpc.Header(&header))
	require.NoError(t, err)
	assert.Equal(t, []string{"201"}, header.Get("x-http-code"))
	assert.Equal(t, signed.GetMemberId(), again.GetMemberId(), "the same sign-up again")

	_, err = members.SignIn(ctx, &memberv1.SignInRequest{Login: "ann@example.com", Password: "wrong horse"})
	assert.True(t, memberv1.IsSignInFailed(err), "%v", err)

	session, err := members.SignIn(ctx, &memberv1.SignInRequest{Login: "ann@example.com", Password: "correct horse"})
	require.NoError(t, err)
	assert.EqualValues(t, 3600, session.GetExpiresIn())

	me, err := members.GetMe(withToken(ctx, session.GetAccessToken()), &memberv1.GetMeRequest{})
	require.NoError(t, err)
	assert.Equal(t, signed.GetMemberId(), me.GetMemberId())
	assert.Equal(t, "ann@example.com", me.GetEmail())
	assert.Equal(t, memberv1.Member_SHOPPER, me.GetRole())

	_, err = members.GetMe(ctx, &memberv1.GetMeRequest{})
	assert.Equal(t, "TOKEN_MISSING", kerrors.Reason(err))
	_, err = members.GetMe(withToken(ctx, session.GetAccessToken()+"x"), &memberv1.GetMeRequest{})
	assert.Equal(t, "TOKEN_INVALID", kerrors.Reason(err))

	for field, change := range map[string]func(*memberv1.SignUpRequest){
		"phone":    func(r *memberv1.SignUpRequest) { r.Phone = "13800138000" },
		"email":    func(r *memberv1.SignUpRequest) { r.Email = "ann" },
		"name":     func(r *memberv1.SignUpRequest) { r.Name = "" },
		"password": func(r *memberv1.SignUpRequest) { r.Password = "short" },
	} {
		bad := ann()
		change(bad)
		_, err := members.SignUp(ctx, bad)
		assert.Equal(t, 400, kerrors.Code(err), "%s: %v", field, err)
		assert.ErrorContains(t, err, field)
	}

	for _, name := range []string{"An\u200bn", "\u202enimda", "\u3164", "Ann\nOperator"} {
		bad := ann()
		bad.Name = name
		_, err := members.SignUp(ctx, bad)
		assert.Equal(t, 400, kerrors.Code(err), "%q: %v", name, err)
		assert.ErrorContains(t, err, "name: ")
	}
	common := ann()
	common.Password = "Baseball"
	_, err = members.SignUp(ctx, common)
	assert.Equal(t, 400, kerrors.Code(err), "%v", err)
	assert.ErrorContains(t, err, "password: ")

	reply, err := http.Get("http://" + cfg.Admin.Addr + "/readyz")
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, reply.StatusCode)
	_ = reply.Body.Close()
}

func TestStartFailsWithARemedy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*config)
		want   string
	}{
		"no signing key":       {func(cfg *config) { cfg.SigningKey += ".absent" }, "`openssl genpkey"},
		"no public keys":       {func(cfg *config) { cfg.IdentityKeys = t.TempDir() }, "`openssl pkey"},
		"keys do not fit":      {func(cfg *config) { _, cfg.IdentityKeys = keys(t) }, "put it there under the same name"},
		"tokens end now":       {func(cfg *config) { cfg.TokenTTL = 0 }, "token_ttl"},
		"messages go too soon": {func(cfg *config) { cfg.Keep.Messages = time.Hour }, "longer than the broker keeps"},
		"halves go too soon":   {func(cfg *config) { cfg.MQ.HalfGrace = time.Second }, "half_grace"},
		"no name server":       {func(cfg *config) { cfg.MQ.NameServers = "here" }, "mq.name_servers is host:port"},
		"not a DSN":            {func(cfg *config) { cfg.MySQL.DSN = "127.0.0.1:3306" }, "mysql.dsn"},
	} {
		cfg := testConfig(t)
		c.change(&cfg)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		require.ErrorContains(t, serve(ctx, cfg), c.want, name)
		cancel()
	}
}

// TestNoSecretsInTheLog tests that neither passwords nor tokens are logged at the most verbose level.
func TestNoSecretsInTheLog(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	p := start(t, append(environment(cfg), "LOG_LEVEL=debug"))
	members := dial(t, cfg.GRPC.Addr)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := members.SignUp(ctx, ann())
	require.NoError(t, err)
	other := ann()
	other.Password = "wrong battery"
	_, err = members.SignUp(ctx, other)
	require.NoError(t, err)
	bad := ann()
	bad.Phone, bad.Password = "0", "battery"
	_, err = members.SignUp(ctx, bad)
	require.Equal(t, 400, kerrors.Code(err), "%v", err)
	_, err = members.SignIn(ctx, &memberv1.SignInRequest{Login: "ann@example.com", Password: "staple"})
	require.Equal(t, codes.Unauthenticated, status.Code(err), "%v", err)
	session, err := members.SignIn(ctx, &memberv1.SignInRequest{Login: "ann@example.com", Password: "correct horse"})
	require.NoError(t, err)
	_, err = members.GetMe(withToken(ctx, session.GetAccessToken()), &memberv1.GetMeRequest{})
	require.NoError(t, err)
	tampered := session.GetAccessToken() + "x"
	_, err = members.GetMe(withToken(ctx, tampered), &memberv1.GetMeRequest{})
	require.Error(t, err)

	log := p.terminate(t)
	assert.Contains(t, log, memberv1.Members_SignIn_FullMethodName, "the calls are in the log")
	assert.Regexp(t, `"level":"INFO","msg":"sign-in failed",.*"login":"[\w-]{12}"`, log)
	for _, secret := range []string{"ann@example.com", "138000", "correct horse", "battery", "staple", session.GetAccessToken(), "argon2id", "PRIVATE KEY"} {
		assert.NotContains(t, log, secret)
	}
	signature := session.GetAccessToken()[strings.LastIndexByte(session.GetAccessToken(), '.')+1:]
	assert.NotContains(t, log, signature)
}
