package failpoint_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/failpoint"
)

// TestMain is also the program of the processes that the tests start.
func TestMain(m *testing.M) {
	switch action := os.Getenv("FAILPOINT_CHILD"); action {
	case "":
		failpoint.Allow()
		os.Exit(m.Run())
	case "not allowed":
		if err := failpoint.Set("p", "error"); err != nil {
			_, _ = os.Stdout.WriteString(err.Error())
		}
		if err := failpoint.Hit(context.Background(), "p"); err != nil {
			_, _ = os.Stdout.WriteString("hit: " + err.Error())
		}
	default:
		failpoint.Allow()
		if err := failpoint.Set("p", action); err != nil {
			os.Exit(2)
		}
		_, _ = os.Stdout.WriteString("before ")
		_ = failpoint.Hit(context.Background(), "p")
		_, _ = os.Stdout.WriteString("after")
	}
}

// child runs this binary again in the given role and returns what it printed and how it ended.
func child(t *testing.T, role string) (string, error) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), "FAILPOINT_CHILD="+role)
	out, err := cmd.Output()
	return string(out), err
}

// set sets the test's own point and clears it when the test ends.
func set(t *testing.T, text string) {
	t.Helper()
	require.NoError(t, failpoint.Set(t.Name(), text))
	t.Cleanup(func() { assert.NoError(t, failpoint.Set(t.Name(), "")) })
}

func TestAPointDoesNothingByDefault(t *testing.T) {
	t.Parallel()
	require.NoError(t, failpoint.Hit(t.Context(), t.Name()))
	set(t, "error")
	require.NoError(t, failpoint.Hit(t.Context(), t.Name()+"/another"))
}

func TestError(t *testing.T) {
	t.Parallel()
	set(t, "error")
	for range 2 {
		err := failpoint.Hit(t.Context(), t.Name())
		require.ErrorIs(t, err, failpoint.ErrInjected)
		require.ErrorContains(t, err, t.Name())
	}
	require.NoError(t, failpoint.Set(t.Name(), ""))
	require.NoError(t, failpoint.Hit(t.Context(), t.Name()))
}

func TestFirstHitsOnly(t *testing.T) {
	t.Parallel()
	set(t, "error*1")
	var failed atomic.Int32
	done := make(chan struct{})
	for range 20 {
		go func() {
			if failpoint.Hit(t.Context(), t.Name()) != nil {
				failed.Add(1)
			}
			done <- struct{}{}
		}()
	}
	for range 20 {
		<-done
	}
	assert.EqualValues(t, 1, failed.Load())

	set(t, "error*2") // set anew, it counts anew
	require.ErrorIs(t, failpoint.Hit(t.Context(), t.Name()), failpoint.ErrInjected)
	require.ErrorIs(t, failpoint.Hit(t.Context(), t.Name()), failpoint.ErrInjected)
	require.NoError(t, failpoint.Hit(t.Context(), t.Name()))
}

func TestDelay(t *testing.T) {
	t.Parallel()
	set(t, "delay(60ms)")
	start := time.Now()
	require.NoError(t, failpoint.Hit(t.Context(), t.Name()))
	assert.GreaterOrEqual(t, time.Since(start), 60*time.Millisecond)

	set(t, "delay(1h)")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, failpoint.Hit(ctx, t.Name()), context.DeadlineExceeded)
}

func TestPauseEndsWhenThePointIsCleared(t *testing.T) {
	t.Parallel()
	for name, release := range map[string]string{"cleared": "", "set anew": "error"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set(t, "pause")
			got := pausedHit(t.Context(), t, t.Name())
			require.NoError(t, failpoint.Set(t.Name(), release))
			require.NoError(t, await(t, got))
		})
	}
	t.Run("of a point that pauses once", func(t *testing.T) {
		t.Parallel()
		set(t, "pause*1")
		got := pausedHit(t.Context(), t, t.Name())
		require.NoError(t, failpoint.Hit(t.Context(), t.Name()), "the second hit does not pause")
		require.NoError(t, failpoint.Set(t.Name(), ""))
		require.NoError(t, await(t, got))
	})
}

func TestPauseEndsWithItsContext(t *testing.T) {
	t.Parallel()
	set(t, "pause")
	ctx, cancel := context.WithCancel(t.Context())
	got := pausedHit(ctx, t, t.Name())
	cancel()
	require.ErrorIs(t, await(t, got), context.Canceled)
}

// pausedHit hits point in the background, and returns when that hit was counted and has not returned.
func pausedHit(ctx context.Context, t *testing.T, point string) <-chan error {
	t.Helper()
	before := get(t).Hits[point]
	got := make(chan error, 1)
	go func() { got <- failpoint.Hit(ctx, point) }()
	require.Eventually(t, func() bool { return get(t).Hits[point] > before }, 10*time.Second, time.Millisecond)
	select {
	case err := <-got:
		t.Fatalf("the hit did not pause: %v", err)
	case <-time.After(20 * time.Millisecond): // a hit that does not pause returns at once
	}
	return got
}

// await returns the result of a hit that must go on now.
func await(t *testing.T, got <-chan error) error {
	t.Helper()
	select {
	case err := <-got:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the hit still pauses")
		return nil
	}
}

func TestSetRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	set(t, "error")
	for _, text := range []string{"explode", "delay", "delay()", "delay(2)", "error*0", "error*-1", "error*x", "error*", "error*1*1", "*1", " error"} {
		require.Error(t, failpoint.Set(t.Name(), text), "%q", text)
	}
	require.ErrorIs(t, failpoint.Hit(t.Context(), t.Name()), failpoint.ErrInjected, "a refused text changes nothing")
}

func TestNothingCanBeSetWhereFaultsAreNotAllowed(t *testing.T) {
	t.Parallel()
	out, err := child(t, "not allowed")
	require.NoError(t, err)
	assert.Equal(t, "faults are not allowed in this process: start it with FAULTS=true", out)
}

func TestCrashKillsTheProcess(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"crash", "crash*1"} {
		out, err := child(t, action)
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
		status, ok := exit.Sys().(syscall.WaitStatus)
		require.True(t, ok)
		assert.Equal(t, syscall.SIGKILL, status.Signal(), "no deferred call, no handler runs")
		assert.Equal(t, "before ", out)
	}
}

// state is what the handler answers.
type state struct {
	Points map[string]string `json:"points"`
	Hits   map[string]int    `json:"hits"`
}

func call(method, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	failpoint.Handler().ServeHTTP(w, httptest.NewRequest(method, "/faults", strings.NewReader(body)))
	return w
}

func get(t *testing.T) state {
	t.Helper()
	w := call(http.MethodGet, "")
	assert.Equal(t, http.StatusOK, w.Code)
	var s state
	assert.NoError(t, json.Unmarshal(w.Body.Bytes(), &s))
	return s
}

func TestHandler(t *testing.T) {
	t.Parallel()
	one, two := t.Name()+".one", t.Name()+".two"
	before := get(t).Hits[one]
	put := func(points map[string]string) *httptest.ResponseRecorder {
		var body bytes.Buffer
		require.NoError(t, json.NewEncoder(&body).Encode(points))
		return call(http.MethodPut, body.String())
	}
	w := put(map[string]string{one: "error", two: "error*1"})
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	s := get(t)
	assert.Equal(t, "error", s.Points[one])
	assert.Equal(t, "error*1", s.Points[two])
	assert.Equal(t, before, s.Hits[one])

	for range 3 {
		require.ErrorIs(t, failpoint.Hit(t.Context(), one), failpoint.ErrInjected)
	}
	require.ErrorIs(t, failpoint.Hit(t.Context(), two), failpoint.ErrInjected)
	s = get(t)
	assert.Equal(t, before+3, s.Hits[one])
	assert.NotContains(t, s.Points, two, "what applies once is gone after its hit")

	w = put(map[string]string{one: ""})
	require.Equal(t, http.StatusOK, w.Code)
	assert.NotContains(t, w.Body.String(), `"`+one+`":"`, "the answer to PUT is the new state")
	require.NoError(t, failpoint.Hit(t.Context(), one))
	assert.Equal(t, before+3, get(t).Hits[one])
}

func TestHandlerRefusesBadRequests(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "crash", `["crash"]`, `{"p": 1}`, `{"p": "explode"}`} {
		w := call(http.MethodPut, body)
		assert.Equal(t, http.StatusBadRequest, w.Code, "%s: %s", body, w.Body)
	}
	assert.Equal(t, http.StatusBadRequest, call(http.MethodPut, `{"p": "`+strings.Repeat("x", 1<<17)+`"}`).Code)
	assert.Equal(t, http.StatusMethodNotAllowed, call(http.MethodPost, `{"p": "error"}`).Code)
	assert.NotContains(t, get(t).Points, "p")
}

// TestPointsFromManyGoroutines is for the race detector.
func TestPointsFromManyGoroutines(t *testing.T) {
	t.Parallel()
	done := make(chan error)
	for i := range 8 {
		go func() {
			var err error
			for range 200 {
				if i%2 == 0 {
					err = errors.Join(err, failpoint.Set(t.Name(), "error"), failpoint.Set(t.Name(), ""))
				} else if e := failpoint.Hit(t.Context(), t.Name()); !errors.Is(e, failpoint.ErrInjected) {
					err = errors.Join(err, e)
				}
			}
			done <- err
		}()
	}
	for range 8 {
		require.NoError(t, <-done)
	}
}
