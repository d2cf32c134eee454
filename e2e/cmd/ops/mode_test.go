package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMode: the command shows the mode, what is queued and what happened; without Redis it says that nobody knows; and it decides, with a
// reason.
func TestMode(t *testing.T) {
	t.Parallel()
	const degraded = `{"mode": "DEGRADED", "epoch": 2, "since": "2026-01-31T07:00:00Z", "why": "10 sends in a row failed", "by": "order-1-a",
		"opener": "order-1-a",
		"lease_until": "2026-01-31T08:00:05Z", "force": "AUTOMATIC", "redis_answered": true, "as_of": "2026-01-31T08:00:00Z",
		"service": "order", "entries": 3, "oldest_at": "2026-01-31T07:59:00Z", 
		"queues": [{"shard": 7, "entries": 3, "oldest_at": "2026-01-31T07:59:00Z"}],
		"groups": [{"group": "notify-sms", "entries": 3, "instances": 0}], "changes": [
		{"at": "2026-01-31T07:00:00Z", "from": "NORMAL", "to": "DEGRADED", "by": "order-1-a", "why": "10 sends in a row failed",
			"force": "FORCE_UNSPECIFIED"},
		{"at": "2026-01-31T06:00:00Z", "from": "NORMAL", "to": "NORMAL", "by": "m-1", "why": "done", "force": "AUTOMATIC"}]}`
	demo := stackWith(t, "/v1/ops/mq",
		[]string{`null`, `null`, `{"mode": "NORMAL", "reason": "no \"Redis\""}`, `{"mode": "AUTOMATIC", "reason": "done"}`},
		[]string{degraded,
			`{"mode": "NORMAL", "since": "2026-01-31T07:00:00Z", "force": "AUTOMATIC", "service": "order", "as_of": "2026-01-31T07:30:00Z"}`,
			`{"mode": "NORMAL", "since": "2026-01-31T07:00:00Z", "force": "NORMAL", "redis_answered": true}`,
			`400 {"code": 400, "message": "reason: no"}`})
	said, err := done(t, demo, "mq", "-mode=", "-why=")
	require.NoError(t, err)
	assert.Equal(t, `  Which way events go
  DEGRADED  since 2026-01-31T07:00:00Z: by Redis, the broker is away
  why       10 sends in a row failed, by order-1-a
  force     AUTOMATIC
  leads     order-1-a, which found the broker away, until 2026-01-31T08:00:05Z
  queued    3 event(s) in 1 queue(s), the oldest of 2026-01-31T07:59:00Z
    queue 7         3, the oldest of 2026-01-31T07:59:00Z
    notify-sms                    3 not settled, 0 instance(s)
  before    2026-01-31T07:00:00Z  NORMAL -> DEGRADED by order-1-a: 10 sends in a row failed
            2026-01-31T06:00:00Z  NORMAL, made AUTOMATIC by m-1: done
  Done.
  It ends by itself when the broker takes events and the queues are empty.
`, said)
	said, err = done(t, demo, "mq")
	require.NoError(t, err)
	assert.Equal(t, `  Which way events go
  REDIS DOES NOT ANSWER: this is what order knew at 2026-01-31T07:30:00Z, and nobody knows what lies in the queues
  NORMAL    since 2026-01-31T07:00:00Z: by the broker
  why       -, by -
  force     AUTOMATIC
  Done.
`, said)
	said, err = done(t, demo, "mq", "-mode=NORMAL", `-why=no "Redis"`)
	require.NoError(t, err)
	assert.Contains(t, said, "  Make the way of events NORMAL: no \"Redis\"\n")
	assert.Contains(t, said, "force     NORMAL\n  queued    0 event(s)\n  Done.\n"+
		"  It stays so until somebody says otherwise: make mq MODE=AUTOMATIC WHY=…")
	_, err = done(t, demo, "mq", "-mode=AUTOMATIC", "-why=done")
	require.EqualError(t, err, "400: reason: no")
}
