package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var now = time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)

// stackWith returns the file of a stack whose gateway answers calls of path with answers, one after another: a body for 200, or a code and a
// body. It checks that the n-th request contains wants[n].
func stackWith(t *testing.T, path string, wants, answers []string) string {
	t.Helper()
	var calls atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/sessions", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, `{"access_token": "token", "expires_in": 3600}`)
	})
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		n := int(calls.Add(1)) - 1
		assert.Equal(t, "Bearer token", r.Header.Get("Authorization"))
		var body map[string]any
		if r.Method == http.MethodPost {
			assert.NoError(t, json.NewDecoder(r.Body).Decode(&body))
		}
		text, err := json.Marshal(body)
		assert.NoError(t, err)
		if assert.Less(t, n, len(wants)) {
			assert.JSONEq(t, wants[n], string(text))
			answer := answers[n]
			if code, rest, refused := strings.Cut(answer, " "); refused && len(code) == 3 {
				w.Header().Set("Retry-After", "1")
				w.WriteHeader(map[string]int{"503": 503, "400": 400, "401": 401, "409": 409}[code])
				answer = rest
			}
			_, _ = fmt.Fprint(w, answer)
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(func() { server.Close(); assert.EqualValues(t, len(wants), calls.Load()) })
	file := filepath.Join(t.TempDir(), "demo.json")
	text := fmt.Sprintf(`{"gateway": %q, "operator": {"login": "operator@example.com", "password": "secret"}}`, server.URL)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// TestReplay: a replay goes part by part from the position returned, in spite of a token that has expired and a broker that is away for a
// moment.
func TestReplay(t *testing.T) {
	t.Parallel()
	const (
		first = `{"topic": "things", "group": "g", "from": "2026-01-31T06:00:00Z"}`
		next  = `{"topic": "things", "group": "g", "from": "2026-01-31T06:00:00Z", "to": "2026-01-31T08:00:00.5Z", "position": "p1"}`
	)
	demo := stackWith(t, "/v1/ops/replay", []string{first, next, next, next}, []string{
		`{"service": "notify", "offered": 500, "effects": 2, "waiting": 1, "known": 496, "dropped": 1, "to": "2026-01-31T08:00:00.5Z", "position": "p1"}`,
		`401 {"code": 401, "message": "the token has expired"}`,
		`503 {"code": 503, "message": "the broker is away"}`,
		`{"service": "notify", "offered": 20, "effects": 1, "waiting": 0, "known": 19, "dropped": 0, "to": "2026-01-31T08:00:00.5Z", "position": ""}`,
	})
	j, _, err := parse([]string{"replay", "-topic=things", "-group=g", "-from=2h", "-to="}, now)
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), demo, j, &out))
	assert.Equal(t, `  Replay things to g from 2026-01-31T06:00:00Z to now
  notify: 500 offered: 2 had their effect now, 1 wait, 496 were known, 1 dropped
  the broker is away; once more
  notify: 520 offered: 3 had their effect now, 1 wait, 515 were known, 1 dropped
  Done.
`, out.String())
}

// TestResend: a resend goes on until there is no more, each time up to the first call's now.
func TestResend(t *testing.T) {
	t.Parallel()
	demo := stackWith(t, "/v1/ops/resend", []string{
		`{"service": "order", "since": "2026-01-01T00:00:00+01:00"}`,
		`{"service": "order", "since": "2026-01-01T00:00:00+01:00", "until": "2026-01-31T08:00:00.123Z"}`,
	}, []string{
		`{"events": 500, "until": "2026-01-31T08:00:00.123Z", "more": true}`,
		`{"events": 3, "until": "2026-01-31T08:00:00.123Z", "more": false}`,
	})
	j, _, err := parse([]string{"resend", "-service=order", "-topic=", "-since=2026-01-01T00:00:00+01:00"}, now)
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), demo, j, &out))
	assert.Equal(t, `  Resend everything that order sent from 2025-12-31T23:00:00Z to now
  order: 500 are being sent again
  order: 503 are being sent again
  Done.
  If the broker came back empty: consumers that ran on may pass over what came at once, so offer it to each group:
  make replay TOPIC=… GROUP=… FROM=<the broker's return> (what a group had has no second effect)
`, out.String())
}

// TestRefused: what the stack refuses is not tried again, and the error has the stack's words.
func TestRefused(t *testing.T) {
	t.Parallel()
	demo := stackWith(t, "/v1/ops/replay",
		[]string{`{"topic": "things", "group": "g", "from": "2026-01-31T07:00:00Z", "to": "2026-01-31T07:30:00Z"}`},
		[]string{`400 {"code": 400, "message": "from: at the earliest 2026-01-25T09:00:00Z"}`})
	j, file, err := parse([]string{"replay", "-demo", demo, "-topic=things", "-group=g", "-from=1h", "-to=30m"}, now)
	require.NoError(t, err)
	assert.Equal(t, demo, file)
	assert.EqualError(t, run(t.Context(), file, j, new(bytes.Buffer)), "400: from: at the earliest 2026-01-25T09:00:00Z")
	assert.ErrorContains(t, run(t.Context(), file+"x", j, new(bytes.Buffer)), "make up")
}

// TestSettle: without a decision the command shows where the attempt stands and what is possible; with one it says what came of it, and fails
// when a service did.
func TestSettle(t *testing.T) {
	t.Parallel()
	const path = "/v1/ops/orders/o-1/settlement"
	report := func(credit, failed string) string {
		return `{"order_id": "o-1", "status": "UPDATING", "gid": "checkout-1", "kind": "PAYMENT", "age_seconds": 34, "coordinator": "unknown",
			"branches": [{"service": "order", "state": "TRIED", "error": ""}, {"service": "credit", "state": "` + credit + `", "error": "` + failed + `"}],
			"choices": [{"decision": "CONFIRM", "refusal": ""}, {"decision": "TRY", "refusal": "every service has tried it"}]}`
	}
	demo := stackWith(t, path,
		[]string{`null`, `{"decision": "CONFIRM"}`, `{"decision": "CANCEL"}`, `{"decision": "CONFIRM"}`, `null`},
		[]string{report("TRIED", ""), report("TRIED", "BRANCH_NOT_TRIED: its row is lost"), `409 {"code": 409, "message": "credit is confirmed"}`,
			report("CONFIRMED", ""), `{"status": "PAID", "gid": ""}`})
	settled := func(args ...string) (string, error) {
		j, _, err := parse(append([]string{"settle", "-order=o-1"}, args...), now)
		require.NoError(t, err)
		var out bytes.Buffer
		err = run(t.Context(), demo, j, &out)
		return out.String(), err
	}
	said, err := settled("-as=")
	require.NoError(t, err)
	assert.Equal(t, `  Where order o-1 stands
  payment checkout-1, open for 34 s; the order reads UPDATING
    coordinator  unknown
    order        TRIED
    credit       TRIED
    AS=confirm   possible
    AS=try       not possible: every service has tried it
  Done.
`, said)
	_, err = settled("-as=confirm")
	require.ErrorContains(t, err, "credit failed")
	require.ErrorContains(t, err, "\n    credit       TRIED      BRANCH_NOT_TRIED: its row is lost")
	_, err = settled("-as=cancel")
	require.EqualError(t, err, "409: credit is confirmed")
	said, err = settled("-as=confirm")
	require.NoError(t, err)
	assert.Contains(t, said, "\n    credit       CONFIRMED\n  Done.\n")
	said, err = settled()
	require.NoError(t, err)
	assert.Contains(t, said, "the order reads PAID, and nothing is open")
}

// TestUsage: the error says what is wrong with a command line, and gives an example of a right one.
func TestUsage(t *testing.T) {
	t.Parallel()
	for line, says := range map[string]string{
		"":                                       "say what to do",
		"play":                                   "there is no play",
		"replay":                                 "replay: TOPIC is missing",
		"replay -topic= -group=g -from=1h":       "replay: TOPIC is missing",
		"replay -topic=t -group= -from=1h":       "replay: GROUP is missing",
		"replay -topic=t -group=g -from= -to=1h": "replay: FROM is missing",
		"replay -topic=t -group=g -from=today":   "neither RFC 3339 nor how long ago",
		"replay -topic=t -group=g -from=-1h":     "neither RFC 3339 nor how long ago",
		"replay -service=order":                  "not defined: -service",
		"resend -service= -since=1h":             "resend: SERVICE is missing",
		"resend -service=order -since=":          "resend: SINCE is missing",
		"settle -order= -as=confirm":             "settle: ORDER is missing",
		"settle -order=o -as=paid":               "AS is confirm, cancel or try",
	} {
		_, _, err := parse(strings.Fields(line), now)
		assert.ErrorContains(t, err, says, line)
		assert.ErrorContains(t, err, "make replay TOPIC=member-events GROUP=notify-email FROM=2h", line)
	}
}
