package tcc_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	alertv1 "example.com/fourfold/api/alert/v1"
	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/tcc"
)

// barrier is the migration with which each service makes the table.
var barrier = fstest.MapFS{"0001_barrier.sql": {Data: []byte(`-- +goose Up
CREATE TABLE barrier (
  id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, trans_type VARBINARY(45) NOT NULL, gid VARBINARY(64) NOT NULL,
  branch_id VARBINARY(64) NOT NULL, op VARBINARY(45) NOT NULL, barrier_id VARBINARY(45) NOT NULL, reason VARBINARY(45) NOT NULL DEFAULT '',
  create_time DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP, UNIQUE KEY uniq_barrier (gid, branch_id, op, barrier_id));
`)}}

// phase calls a phase of gid, whose effect returns err.
func phase(t *testing.T, p *tcc.Participant, keys mac.Keys, phase tcc.Phase, gid string, err error) error {
	t.Helper()
	call := tcc.Call{GID: gid, Branch: "02", Phase: phase, Service: "x.Service", Subject: "subject"}
	ctx := tcc.LocalContext(t.Context(), call.Service, nil, call.Headers(keys))
	_, got := p.Run(ctx, phase, "subject", func(*sql.Tx, string) error { return err })
	return got
}

// TestMissing: phases that find nothing tried raise one alert, which names the oldest, however many there are and however often they are
// repeated, in two instances; it ends when all have passed or nobody repeats them any more. A database without its table fails no phase.
func TestMissing(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, barrier, mq.Tables(), alert.Tables(), tcc.Tables())
	keys, err := mac.Parse("k1:00112233445566778899aabbccddeeff")
	require.NoError(t, err)
	var instances [2]*tcc.Participant
	for i := range instances {
		alerts := alert.New(mqtest.Absent(t, db, "stock"), db, "stock")
		missing := tcc.NewMissing(db, alerts)
		instances[i] = tcc.NewParticipant(t.Name(), db, keys).Report(missing)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); assert.NoError(t, missing.Watch(ctx)) }()
		t.Cleanup(func() { cancel(); <-done })
	}
	told := func() (all []string) {
		t.Helper()
		for _, e := range mqtest.Outbox[alertv1.Raised](t, db, alertv1.Topic) {
			assert.Equal(t, "branch-not-tried", e.Data.GetKey())
			assert.Contains(t, e.Data.GetDetail(), "docs/runbook.md#branch-not-tried")
			all = append(all, e.Data.GetSummary()+"\n"+e.Data.GetDetail())
		}
		return all
	}
	open := func() string {
		t.Helper()
		return mysqltest.Dump(t, db, "SELECT COUNT(*) FROM branch_not_tried", "SELECT COUNT(*) FROM alert WHERE cleared_at IS NULL")
	}

	require.NoError(t, phase(t, instances[0], keys, tcc.Confirm, "passes", nil))
	for n := range 12 {
		for repetition := range 3 {
			err := phase(t, instances[repetition%2], keys, tcc.Confirm, fmt.Sprintf("gid-%02d", n), tcc.ErrNotTried)
			require.ErrorIs(t, err, tcc.ErrNotTried)
		}
	}
	require.Eventually(t, func() bool { return len(told()) == 1 }, 20*time.Second, 20*time.Millisecond)
	require.Equal(t, "12\n--\n1\n--\n", open())
	assert.Contains(t, told()[0], "confirm of TestMissing, about \"subject\", transaction gid-")
	assert.NotContains(t, told()[0], "transaction passes")

	for n := range 11 {
		require.NoError(t, phase(t, instances[0], keys, tcc.Confirm, fmt.Sprintf("gid-%02d", n), nil))
	}
	require.Eventually(t, func() bool { return open() == "1\n--\n1\n--\n" }, 20*time.Second, 20*time.Millisecond, "one is left")
	require.NoError(t, phase(t, instances[1], keys, tcc.Confirm, "gid-11", nil))
	require.Eventually(t, func() bool { return open() == "0\n--\n0\n--\n" }, 20*time.Second, 20*time.Millisecond, "it is over")

	require.ErrorIs(t, phase(t, instances[0], keys, tcc.Confirm, "forged", tcc.ErrNotTried), tcc.ErrNotTried)
	require.Eventually(t, func() bool { return len(told()) == 2 }, 20*time.Second, 20*time.Millisecond, "another is another")
	_, err = db.ExecContext(t.Context(), "UPDATE branch_not_tried SET last_at = last_at - INTERVAL 61 MINUTE")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return open() == "0\n--\n0\n--\n" }, 20*time.Second, 20*time.Millisecond, "nobody repeats it")
	assert.Len(t, told(), 2)

	bare := mysqltest.Open(t, barrier)
	alone := tcc.NewParticipant(t.Name(), bare, keys).Report(tcc.NewMissing(bare, nil))
	require.ErrorIs(t, phase(t, alone, keys, tcc.Confirm, "gid", tcc.ErrNotTried), tcc.ErrNotTried)
}
