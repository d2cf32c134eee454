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
// body. It checks that the n-th request's body is wants[n], of one without a body its query.
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
		var body any
		if r.URL.RawQuery != "" {
			body = r.URL.RawQuery
		}
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
				w.WriteHeader(map[string]int{"503": 503, "400": 400, "401": 401, "404": 404, "409": 409}[code])
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

// done runs a command line to its end and returns what it said.
func done(t *testing.T, demo string, args ...string) (string, error) {
	t.Helper()
	j, _, err := parse(args, now)
	require.NoError(t, err)
	var out bytes.Buffer
	err = run(t.Context(), demo, j, &out)
	return out.String(), err
}

// TestPosition: without a number the command shows, of all groups or those that are asked for; with one it moves, and says what is to be done.
func TestPosition(t *testing.T) {
	t.Parallel()
	const all = `{"positions": [
		{"service": "notify", "group": "notify-orders", "source": "/order", "subject": "o-1", "generation": "", "sequence": 3,
			"at": "2026-01-31T07:00:00Z", "waiting": 5},
		{"service": "order", "group": "order-deliveries", "source": "/wms", "subject": "o-1", "generation": "g2", "sequence": 1,
			"at": "2026-01-31T07:30:00Z", "waiting": 0}], "unreachable": ["credit"]}`
	demo := stackWith(t, "/v1/ops/positions",
		[]string{`"group=&subject=o-1"`, `"group=order-deliveries&subject=o-1"`, `"group=&subject=o-2"`,
			`{"subject": "o-1", "group": "notify-orders", "source": "/order", "sequence": 0}`,
			`{"subject": "o-1", "group": "order-deliveries", "source": "/wms", "generation": "g2", "sequence": 4}`},
		[]string{all, all, `{"positions": [], "unreachable": []}`,
			`{"position": {"group": "notify-orders", "source": "/order", "sequence": 0, "at": "2026-01-31T08:00:00Z"}, "forgotten": 2}`,
			`409 {"code": 409, "message": "sequence: number 2 is here"}`})
	said, err := done(t, demo, "position", "-subject=o-1", "-group=", "-source=", "-generation=", "-to=")
	require.NoError(t, err)
	assert.Equal(t, `  How far groups are with o-1
  notify-orders of /order: number 3 since 2026-01-31T07:00:00Z; number 5 waits
  order-deliveries of /wms: number 1 since 2026-01-31T07:30:00Z, generation g2
  not complete: no answer from credit
  Done.
`, said)
	said, err = done(t, demo, "position", "-subject=o-1", "-group=order-deliveries", "-source=/wms")
	require.NoError(t, err)
	assert.NotContains(t, said, "notify-orders")
	assert.Contains(t, said, "order-deliveries of /wms: number 1")
	said, err = done(t, demo, "position", "-subject=o-2")
	require.NoError(t, err)
	assert.Contains(t, said, "no group has a position")
	said, err = done(t, demo, "position", "-subject=o-1", "-group=notify-orders", "-source=/order", "-to=0")
	require.NoError(t, err)
	assert.Equal(t, `  Let notify-orders go on after number 0 of o-1
  notify-orders of /order: number 0 since 2026-01-31T08:00:00Z
  2 event(s) that were dropped as old are forgotten
  Done.
  What was dropped has its effect when it is sent again: make resend SERVICE=order SINCE=…
`, said)
	_, err = done(t, demo, "position", "-subject=o-1", "-group=order-deliveries", "-source=/wms", "-generation=g2", "-to=4")
	require.EqualError(t, err, "409: sequence: number 2 is here")
}

// TestRefusedEvents: each is listed with the broker's answer, and one is given up by its id.
func TestRefusedEvents(t *testing.T) {
	t.Parallel()
	demo := stackWith(t, "/v1/ops/refused", []string{`null`, `null`}, []string{
		`{"messages": [{"id": "order-17", "topic": "no-events", "type": "order.paid", "subject": "o-1", "sequence": 2, "event_id": "e-1",
			"born_at": "2026-01-31T07:00:00Z", "last_error": "TOPIC_NOT_EXIST"}], "unreachable": []}`,
		`{"messages": [], "unreachable": ["order", "wms"]}`})
	said, err := done(t, demo, "refused", "-discard=")
	require.NoError(t, err)
	assert.Equal(t, `  Events that the broker refuses
  order-17  order.paid to no-events about o-1, number 2, since 2026-01-31T07:00:00Z, event e-1
    TOPIC_NOT_EXIST
  Done.
`, said)
	said, err = done(t, demo, "refused")
	require.NoError(t, err)
	assert.Equal(t, "  Events that the broker refuses\n  none\n  not complete: no answer from order, wms\n  Done.\n", said)

	demo = stackWith(t, "/v1/ops/refused/order-17/discard", []string{`{}`, `{}`},
		[]string{`{}`, `404 {"code": 404, "message": "there is no refused event order-17"}`})
	said, err = done(t, demo, "refused", "-discard=order-17")
	require.NoError(t, err)
	assert.Contains(t, said, "  Discard order-17\n  it is not sent any more")
	_, err = done(t, demo, "refused", "-discard=order-17")
	require.EqualError(t, err, "404: there is no refused event order-17")
}

// TestAudits: each group's line says when nothing was missing last, what was sent again, and why it could not be found out.
func TestAudits(t *testing.T) {
	t.Parallel()
	demo := stackWith(t, "/v1/ops/audits", []string{`null`}, []string{`{"audits": [
		{"group": "notify-sms", "publisher": "member", "complete_at": "2026-01-31T07:00:00Z", "events": 12, "resent": 0, "last_error": ""},
		{"group": "notify-orders", "publisher": "order", "complete_at": null, "events": 3, "resent": 2, "resent_at": "2026-01-31T07:30:00Z",
			"last_error": "the broker takes no events now"}], "unreachable": ["credit"]}`})
	said, err := done(t, demo, "audits")
	require.NoError(t, err)
	assert.Equal(t, `  What groups have of what was sent
  notify-sms           of member     complete 2026-01-31T07:00:00Z, 12 compared
  notify-orders        of order      complete never, 3 compared; 2 sent again, the last at 2026-01-31T07:30:00Z
    the broker takes no events now
  not complete: no answer from credit
  Done.
`, said)
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
		"mq -mode=DEGRADED -why=":                "mq: WHY is missing",
		"mq -mode=degraded -why=x":               "MODE is DEGRADED, NORMAL or AUTOMATIC",
		"position -subject= -to=1":               "position: SUBJECT is missing",
		"position -subject=o -to=1":              "position: GROUP is missing",
		"position -subject=o -group=g -to=0":     "position: SOURCE is missing",
		"position -subject=o -to=-1":             "TO is the number after which the group goes on",
		"position -subject=o -to=last":           "TO is the number after which the group goes on",
		"settle -order= -as=confirm":             "settle: ORDER is missing",
		"settle -order=o -as=paid":               "AS is confirm, cancel or try",
	} {
		_, _, err := parse(strings.Fields(line), now)
		assert.ErrorContains(t, err, says, line)
		assert.ErrorContains(t, err, "make replay TOPIC=member-events GROUP=notify-email FROM=2h", line)
	}
}
