package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	accessv1 "example.com/fourfold/api/access/v1"
	memberv1 "example.com/fourfold/api/member/v1"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/service/servicetest"
)

// run runs a command of the program with what it reads, and returns what it writes.
func run(t *testing.T, cfg config, in string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Env = environment(cfg)
	if secret, ok := strings.CutPrefix(in, "SET_PASSWORD="); ok {
		cmd.Env = append(cmd.Env, "SET_PASSWORD="+secret)
	} else {
		cmd.Stdin = strings.NewReader(in)
	}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	return out.String(), errOut.String(), err
}

// TestChangeAccount changes a password and a role and closes the account while the service runs, and follows what it says about tokens.
func TestChangeAccount(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	servicetest.Serve(t, func(ctx context.Context) error { return serve(ctx, cfg) })
	conn := servicetest.Dial(t, cfg.GRPC.Addr)
	members, ends := memberv1.NewMembersClient(conn), memberv1.NewEndingsClient(conn)
	verifier, err := identity.LoadVerifier(cfg.IdentityKeys)
	require.NoError(t, err)
	signIn := func(login, secret string) (caller identity.Caller, reason string) {
		t.Helper()
		session, err := members.SignIn(t.Context(), &memberv1.SignInRequest{Login: login, Password: secret})
		if err != nil {
			return identity.Caller{}, kerrors.Reason(err)
		}
		caller, err = verifier.Verify(session.GetAccessToken())
		require.NoError(t, err)
		return caller, ""
	}
	ended := func(c identity.Caller) bool {
		t.Helper()
		req := new(memberv1.ListEndingsRequest)
		reply, err := ends.ListEndings(mqtest.Keys().Call(t.Context(), memberv1.Endings_ListEndings_FullMethodName, req), req)
		require.NoError(t, err)
		epochs := map[string]int64{}
		for _, e := range reply.GetEndings() {
			epochs[e.GetMemberId()] = e.GetEpoch()
		}
		var e identity.Endings
		e.Set(epochs)
		return e.Ended(c)
	}
	change := func(in string, args ...string) {
		t.Helper()
		out, errOut, err := run(t, cfg, in, args...)
		require.NoError(t, err, errOut)
		assert.Regexp(t, `^[0-9a-f-]{36}\n$`, out)
		assert.NotContains(t, errOut, "battery", "no password in the log")
		assert.NotContains(t, errOut, "example.com")
	}
	_, err = members.SignUp(t.Context(), ann())
	require.NoError(t, err)
	first, _ := signIn("ann@example.com", "correct horse")
	assert.False(t, ended(first))

	change("correct battery\n", "password", "-login", "+86 138 0013 8000")
	assert.True(t, ended(first))
	_, reason := signIn("ann@example.com", "correct horse")
	assert.Equal(t, "SIGN_IN_FAILED", reason)
	second, reason := signIn("ann@example.com", "correct battery")
	assert.Empty(t, reason)
	assert.False(t, ended(second))

	change("", "role", "-login", "ann@example.com", "-role", "operator")
	assert.True(t, ended(second))
	third, _ := signIn("ann@example.com", "correct battery")
	assert.Equal(t, identity.Role(accessv1.Operator), third.Role)
	change("", "role", "-login", "ann@example.com", "-role", "operator")
	assert.False(t, ended(third), "no other role, and no token ends")
	change("", "role", "-login", "ann@example.com", "-role", "shopper")
	assert.True(t, ended(third))
	change("SET_PASSWORD=another battery", "password", "-login", "ann@example.com")
	fourth, reason := signIn("ann@example.com", "another battery")
	assert.Empty(t, reason)
	assert.Equal(t, identity.Role(accessv1.Shopper), fourth.Role)

	change("", "close", "-login", "ann@example.com")
	assert.True(t, ended(fourth))
	for _, login := range []string{"ann@example.com", "+8613800138000", ""} {
		for _, secret := range []string{"another battery", "x"} {
			_, reason = signIn(login, secret)
			assert.NotEmpty(t, reason, "%q", login)
		}
	}
	again, err := members.SignUp(t.Context(), ann())
	require.NoError(t, err, "phone and email are free again")
	assert.NotEqual(t, fourth.MemberID, again.GetMemberId())

	for name, c := range map[string]struct {
		in   string
		args []string
		want string
	}{
		"nobody":          {"", []string{"close", "-login", "bob@example.com"}, "nobody has the login"},
		"no login":        {"", []string{"close"}, "nobody has the login"},
		"no password":     {"", []string{"password", "-login", "ann@example.com"}, "8 to 128"},
		"common password": {"baseball\n", []string{"password", "-login", "ann@example.com"}, "tried first"},
		"no role":         {"", []string{"role", "-login", "ann@example.com", "-role", "admin"}, "shopper or operator"},
		"stray word":      {"", []string{"close", "ann@example.com"}, `"ann@example.com"`},
	} {
		out, errOut, err := run(t, cfg, c.in, c.args...)
		require.Error(t, err, name)
		assert.Contains(t, errOut, c.want, name)
		assert.Empty(t, out, name)
	}
	_, err = ends.ListEndings(t.Context(), new(memberv1.ListEndingsRequest))
	assert.Equal(t, "CALL_FORGED", kerrors.Reason(err), "strangers do not learn who is closed")
	stranger, err := mac.Parse("k1:" + strings.Repeat("cd", 32))
	require.NoError(t, err)
	req := new(memberv1.ListEndingsRequest)
	_, err = ends.ListEndings(stranger.Call(t.Context(), memberv1.Endings_ListEndings_FullMethodName, req), req)
	assert.Equal(t, "CALL_FORGED", kerrors.Reason(err))
}
