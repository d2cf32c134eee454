package password

import (
	"context"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func newHasher(t *testing.T) *Hasher {
	t.Helper()
	h, err := NewHasher(0)
	require.NoError(t, err)
	return h
}

func TestMatch(t *testing.T) {
	t.Parallel()
	h := newHasher(t)
	for _, password := range []string{"correct horse", "密码密码密码密码", "with\x00zero"} {
		hash, err := h.Hash(t.Context(), password)
		require.NoError(t, err)
		assert.Regexp(t, `^\$argon2id\$v=19\$m=19456,t=2,p=1\$`, hash)
		assert.LessOrEqual(t, len(hash), 200, "the column holds 200")
		require.Empty(t, h.slots, "each call gives its place back")
		for guess, want := range map[string]bool{password: true, password + " ": false, "": false, password[:4]: false} {
			got, old, err := h.Match(t.Context(), guess, hash)
			require.NoError(t, err)
			assert.Equal(t, want, got, "%q", guess)
			assert.False(t, old)
			require.Empty(t, h.slots, "each call gives its place back")
		}
	}
	one, err := h.Hash(t.Context(), "same")
	require.NoError(t, err)
	two, err := h.Hash(t.Context(), "same")
	require.NoError(t, err)
	assert.NotEqual(t, one, two, "each hash has a salt of its own")

	_, _, err = h.Match(t.Context(), "same", "$2y$10$of.another.kind")
	require.Error(t, err)
}

// TestNoHashMatchesNothing tests that not even the password that the stand-in was made from matches.
func TestNoHashMatchesNothing(t *testing.T) {
	t.Parallel()
	h := newHasher(t)
	for _, guess := range []string{"", "nobody's password"} {
		got, _, err := h.Match(t.Context(), guess, "")
		require.NoError(t, err)
		assert.False(t, got)
	}
}

// TestNoHashTakesAsLong compares the fastest of several runs.
func TestNoHashTakesAsLong(t *testing.T) {
	t.Parallel()
	h := newHasher(t)
	hash, err := h.Hash(t.Context(), "correct horse")
	require.NoError(t, err)
	fastest := func(hash string) time.Duration {
		best := time.Hour
		for range 8 {
			start := time.Now()
			_, _, err := h.Match(t.Context(), "wrong horse", hash)
			require.NoError(t, err)
			best = min(best, time.Since(start))
		}
		return best
	}
	known, unknown := fastest(hash), fastest("")
	// Without a stand-in it would be a thousandth; the load of the machine must not decide.
	assert.InDelta(t, 0, math.Log2(float64(unknown)/float64(known)), 3, "unknown login %s, wrong password %s", unknown, known)
}

// await returns what call returns, and fails the test when call does not return.
func await(t *testing.T, call func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("the call still waits")
		return nil
	}
}

func TestOnlySoManyAtATime(t *testing.T) {
	t.Parallel()
	h := newHasher(t)
	hash, err := h.Hash(t.Context(), "correct horse")
	require.NoError(t, err)
	n := max(1, runtime.GOMAXPROCS(0)/2)
	for range n { // as if n calls were under way
		require.NoError(t, h.acquire(t.Context()))
	}
	for name, call := range map[string]func(context.Context) error{
		"Hash":           func(ctx context.Context) error { _, err := h.Hash(ctx, "x"); return err },
		"Match":          func(ctx context.Context) error { _, _, err := h.Match(ctx, "x", hash); return err },
		"Match, no hash": func(ctx context.Context) error { _, _, err := h.Match(ctx, "x", ""); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		require.ErrorIs(t, await(t, func() error { return call(ctx) }), context.DeadlineExceeded, name)
		cancel()

		h.release()
		require.NoError(t, await(t, func() error { return call(t.Context()) }), "%s goes on when one is done", name)
		require.NoError(t, await(t, func() error { return h.acquire(t.Context()) }), "%s gives its place back", name)
	}
	for range n {
		h.release()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = h.Hash(ctx, "x")
	require.ErrorIs(t, err, context.Canceled, "a call nobody waits for is not worked on")
}

// TestForms tests that a password is the same however it was typed, and that hashes from before go on being good, and are told apart.
func TestForms(t *testing.T) {
	t.Parallel()
	h := newHasher(t)
	forms := []string{"caf\u00e9 \ufb01rst \uff11", "cafe\u0301 first 1", "caf\u00e9\u00a0first\u3000\uff11"}
	for _, set := range forms {
		hash, err := h.Hash(t.Context(), set)
		require.NoError(t, err)
		for _, typed := range forms {
			match, old, err := h.Match(t.Context(), typed, hash)
			require.NoError(t, err)
			assert.True(t, match, "%+q, set as %+q", typed, set)
			assert.False(t, old)
		}
	}
	before, err := argon2id.CreateHash(forms[0], h.params)
	require.NoError(t, err)
	for typed, want := range map[string]bool{forms[0]: true, forms[1]: false, "x": false} {
		match, old, err := h.Match(t.Context(), typed, before)
		require.NoError(t, err)
		assert.Equal(t, want, match, "%+q", typed)
		assert.Equal(t, want, old, "%+q", typed)
	}
	match, _, err := h.Match(t.Context(), forms[0], "")
	require.NoError(t, err)
	assert.False(t, match)
}

// TestShortQueue tests that who would wait for too long is told so at once.
func TestShortQueue(t *testing.T) {
	t.Parallel()
	h, err := NewHasher(2)
	require.NoError(t, err)
	n := cap(h.slots)
	for range n { // as if n calls were under way
		require.NoError(t, h.acquire(t.Context()))
	}
	done := make(chan error, 2*n)
	for range 2 * n {
		go func() {
			_, err := h.Hash(t.Context(), "x")
			done <- err
		}()
	}
	require.Eventually(t, func() bool { return h.waiting.Load() == int64(2*n) }, 20*time.Second, time.Millisecond)
	_, err = h.Hash(t.Context(), "x")
	require.ErrorIs(t, err, ErrBusy)
	_, _, err = h.Match(t.Context(), "x", "")
	require.ErrorIs(t, err, ErrBusy)
	for range n {
		h.release()
	}
	for range 2 * n {
		require.NoError(t, <-done, "who waits is served")
	}
	_, err = h.Hash(t.Context(), "x")
	require.NoError(t, err)
}
