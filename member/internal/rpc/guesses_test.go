package rpc_test

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	memberv1 "example.com/fourfold/api/member/v1"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/member/internal/mysql"
	"example.com/fourfold/member/internal/rpc"
)

// slow are the limits of config.yaml.
var slow = rpc.Guesses{Strangers: mysql.Rate{PerHour: 10, Burst: 10}, Owner: mysql.Rate{PerHour: 60, Burst: 20}}

// try signs in from address and returns the reason of the answer, "" for a token.
func (f fixture) try(t *testing.T, address, login, secret string) string {
	t.Helper()
	_, err := f.SignIn(service.WithAddress(t.Context(), address), &memberv1.SignInRequest{Login: login, Password: secret})
	if err == nil {
		return ""
	}
	e := kerrors.FromError(err)
	if e.Reason == "TOO_MANY_GUESSES" {
		assert.EqualValues(t, 429, e.Code)
		seconds, err := strconv.Atoi(e.Metadata["retry_after"])
		assert.NoError(t, err)
		assert.InDelta(t, 180, seconds, 180)
	}
	if e.Reason == "" {
		return err.Error()
	}
	return e.Reason
}

// atOnce signs in from n addresses at the same time and returns how often each answer came.
func (f fixture) atOnce(t *testing.T, n int, login, secret string) map[string]int {
	t.Helper()
	var group sync.WaitGroup
	answers := make([]string, n)
	for i := range n {
		group.Go(func() { answers[i] = f.try(t, fmt.Sprint("198.51.100.", i), login, secret) })
	}
	group.Wait()
	count := map[string]int{}
	for _, a := range answers {
		count[a]++
	}
	return count
}

// cheapen lets the password of every member cost next to nothing.
func (f fixture) cheapen(t *testing.T, secret string) {
	t.Helper()
	hash, err := argon2id.CreateHash(secret, &argon2id.Params{Memory: 64, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32})
	require.NoError(t, err)
	_, err = f.db.ExecContext(t.Context(), "UPDATE member SET password_hash = ?", hash)
	require.NoError(t, err)
}

// pass moves the database's clock, as far as guesses are counted by it.
func (f fixture) pass(t *testing.T, d time.Duration) {
	t.Helper()
	_, err := f.db.ExecContext(t.Context(), "UPDATE allowance SET whole_at = TIMESTAMPADD(SECOND, -?, whole_at)", int(d.Seconds()))
	require.NoError(t, err)
}

// TestManyGuesses tests that wrong passwords are counted for the login, from wherever they come, and that the right one does not stand out among
// what is too many. A login that nobody has is answered as one that somebody has.
func TestManyGuesses(t *testing.T) {
	t.Parallel()
	f := newFixture(t, slow)
	_, err := f.SignUp(t.Context(), ann())
	require.NoError(t, err)
	const owner = "192.0.2.1"
	require.Empty(t, f.try(t, owner, "ann@example.com", "correct horse"))
	for _, login := range []string{"ann@example.com", "+8613800138000", "nobody@example.com", "+8613800138999", "用户"} {
		assert.Equal(t, map[string]int{"SIGN_IN_FAILED": 10, "TOO_MANY_GUESSES": 30}, f.atOnce(t, 40, login, "wrong horse"), login)
		assert.Equal(t, "TOO_MANY_GUESSES", f.try(t, "203.0.113.1", login, "correct horse"), "the right one, from elsewhere")
		f.pass(t, 6*time.Minute)
		assert.Equal(t, "SIGN_IN_FAILED", f.try(t, "203.0.113.2", login, "wrong horse"))
		assert.Equal(t, "TOO_MANY_GUESSES", f.try(t, "203.0.113.3", " "+strings.ToUpper(login)+" ", "wrong horse"), "another spelling")
		if login == "nobody@example.com" {
			assert.Equal(t, "TOO_MANY_GUESSES", f.try(t, owner, login, "wrong horse"), "Ann's address is a stranger's to others")
		}
	}
	// The owner's address has an allowance of its own, which strangers do not use up; it has an end, too.
	for range 30 {
		require.Empty(t, f.try(t, owner, "ann@example.com", "correct horse"), "the right one costs nothing")
	}
	for range 20 {
		require.Equal(t, "SIGN_IN_FAILED", f.try(t, owner, "ann@example.com", "wrong horse"))
	}
	assert.Equal(t, "TOO_MANY_GUESSES", f.try(t, owner, "ann@example.com", "correct horse"))
}

func TestNoLimitOfGuesses(t *testing.T) {
	t.Parallel()
	f := newFixture(t, rpc.Guesses{})
	_, err := f.SignUp(t.Context(), ann())
	require.NoError(t, err)
	f.cheapen(t, "correct horse")
	assert.Equal(t, map[string]int{"SIGN_IN_FAILED": 60}, f.atOnce(t, 60, "ann@example.com", "wrong horse"))
}

// TestAnHourOfGuesses lets 40 addresses guess the password of one login, each every two minutes for an hour, while its owner signs in every ten
// minutes, without the limit and with it. It prints how many guesses had their password looked at.
func TestAnHourOfGuesses(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]rpc.Guesses{"LIMIT_GUESSES=0": {}, "default": slow} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, limit)
			_, err := f.SignUp(t.Context(), ann())
			require.NoError(t, err)
			f.cheapen(t, "correct horse")
			require.Empty(t, f.try(t, "192.0.2.1", "ann@example.com", "correct horse"))
			owner, answers := 0, map[string]int{}
			for round := range 30 {
				for answer, n := range f.atOnce(t, 40, "ann@example.com", "wrong horse") {
					answers[answer] += n
				}
				if round%5 == 4 && assert.Empty(t, f.try(t, "192.0.2.1", "ann@example.com", "correct horse")) {
					owner++
				}
				f.pass(t, 2*time.Minute)
			}
			t.Logf("40 addresses, 1200 guesses in an hour: %d looked at, %d answered 429; the owner signed in %d times of 6",
				answers["SIGN_IN_FAILED"], answers["TOO_MANY_GUESSES"], owner)
			assert.Equal(t, 6, owner)
			if limit.Strangers.PerHour == 0 {
				assert.Equal(t, map[string]int{"SIGN_IN_FAILED": 1200}, answers)
				return
			}
			assert.InDelta(t, 20, answers["SIGN_IN_FAILED"], 1, "ten at once, and ten in the hour")
			assert.Equal(t, 1200, answers["SIGN_IN_FAILED"]+answers["TOO_MANY_GUESSES"])
		})
	}
}
