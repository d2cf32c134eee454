package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestUnsubmittedIsCanceled(t *testing.T) {
	t.Parallel()
	c, p := start(t, emptyDatabase(t, mariadb)...), newParticipant(t)
	p.serve(t)
	prepare(t, c, p, "timeout", 3)
	if got := c.status("timeout"); got != "prepared" {
		t.Errorf("after Prepare: %s", got)
	}
	eventually(t, 6*time.Second, "the time-out", func() bool { return c.status("timeout") == "failed" })
	if p.got("Cancel", "timeout") != 1 || p.got("Confirm", "timeout") != 0 {
		t.Errorf("the branch was asked %v", p.seen)
	}
}

func TestSubmittedIsConfirmed(t *testing.T) {
	t.Parallel()
	c, p := start(t, emptyDatabase(t, mariadb)...), newParticipant(t)
	p.serve(t)
	submit(t, c, prepare(t, c, p, "pay", 8))
	eventually(t, 2*time.Second, "the Confirm", func() bool { return c.status("pay") == "succeed" })
	if p.got("Cancel", "pay") != 0 || p.got("Confirm", "pay") != 1 {
		t.Errorf("the branch was asked %v", p.seen)
	}
}

func TestTransactionOutlivesCoordinator(t *testing.T) {
	t.Parallel()
	c, p := start(t, emptyDatabase(t, mariadb)...), newParticipant(t)
	p.serve(t)
	prepare(t, c, p, "kept", 30)
	prepare(t, c, p, "timeout", 3)
	c.kill()
	c.run(t)
	eventually(t, 20*time.Second, "ready again", c.ready)
	if got := c.status("kept"); got != "prepared" {
		t.Errorf("after a crash: %s", got)
	}
	eventually(t, 7*time.Second, "the time-out", func() bool { return c.status("timeout") == "failed" })
}

// TestHalfDoneGoesOnAtStart: a submitted transaction whose next attempt is far away is taken up at once by the next process.
func TestHalfDoneGoesOnAtStart(t *testing.T) {
	t.Parallel()
	env := append(emptyDatabase(t, mariadb), "RETRY_INTERVAL_MAX=600")
	c, p := start(t, env...), newParticipant(t)
	submit(t, c, prepare(t, c, p, "half", 8))
	eventually(t, 3*time.Second, "a failed Confirm", func() bool { return strings.Contains(c.output.String(), p.addr) })
	c.kill()
	newSession(t, env).exec(t, "UPDATE trans_global SET next_cron_time = NOW() + INTERVAL 600 SECOND")
	p.serve(t)
	c.run(t)
	eventually(t, 20*time.Second, "ready again", c.ready)
	eventually(t, 4*time.Second, "the Confirm", func() bool { return c.status("half") == "succeed" })
}

// TestOldTransactionsAreDeleted: finished transactions and their branches are deleted after KEEP_DAYS; younger and unfinished ones stay.
func TestOldTransactionsAreDeleted(t *testing.T) {
	t.Parallel()
	env := emptyDatabase(t, mariadb)
	c, p := start(t, env...), newParticipant(t)
	p.serve(t)
	for _, gid := range []string{"old", "young"} {
		submit(t, c, prepare(t, c, p, gid, 8))
		eventually(t, 3*time.Second, "the Confirm", func() bool { return c.status(gid) == "succeed" })
	}
	prepare(t, c, p, "open", 300)
	c.kill()
	name := strings.TrimPrefix(env[1], "STORE_DB=")
	for _, stmt := range []string{
		"UPDATE %s.trans_global SET update_time = NOW() - INTERVAL 31 DAY WHERE gid IN ('old', 'open')",
		"UPDATE %s.trans_branch_op SET create_time = NOW() - INTERVAL 31 DAY WHERE gid IN ('old', 'open')",
	} {
		if err := mariadb.Exec(t.Context(), fmt.Sprintf(stmt, name)); err != nil {
			t.Fatal(err)
		}
	}
	c.run(t)
	eventually(t, 20*time.Second, "ready again", c.ready)
	eventually(t, 10*time.Second, "the old one is gone",
		func() bool { return c.status("old") == "unknown" && c.branch("old", "confirm") == "unknown" })
	for gid, want := range map[string]string{"young": "succeed", "open": "prepared"} {
		if got := c.status(gid); got != want {
			t.Errorf("%s: %q, want %q", gid, got, want)
		}
		if c.branch(gid, "confirm") == "unknown" {
			t.Errorf("the branches of %s are gone", gid)
		}
	}
}

// TestRetriesStayClose pushes nothing: the pause itself must stay short.
func TestRetriesStayClose(t *testing.T) {
	t.Parallel()
	c, p := start(t, append(emptyDatabase(t, mariadb), "RETRY_INTERVAL_MAX=2")...), newParticipant(t)
	submit(t, c, prepare(t, c, p, "retried", 8))
	failures := func() int { return strings.Count(c.output.String(), "processInner got error") }
	// The pause would be 16 s after the first failure and grow to 64 s after the third.
	eventually(t, 12*time.Second, "three failed Confirms", func() bool { return failures() >= 3 })
	p.serve(t)
	eventually(t, 5*time.Second, "the Confirm", func() bool { return c.status("retried") == "succeed" })
}

// TestReturnedParticipantIsUsedAtOnce: after a while gRPC dials an absent server only every few seconds, and in between fails with Unavailable
// without dialing.
func TestReturnedParticipantIsUsedAtOnce(t *testing.T) {
	t.Parallel()
	c, p := start(t, emptyDatabase(t, mariadb)...), newParticipant(t)
	lastPause, stop := p.rejectAll(t)
	submit(t, c, prepare(t, c, p, "away", 8))
	eventually(t, 30*time.Second, "gRPC pauses", func() bool { return lastPause() > 2200*time.Millisecond })
	stop()
	p.serve(t)
	eventually(t, 2500*time.Millisecond, "the Confirm", func() bool {
		c.push(t, "away") // again and again: an attempt that was under way fails, and decides when the next one is due
		return c.status("away") == "succeed"
	})
}

// TestMovedParticipant documents a bound: a transaction keeps the addresses that came with Prepare. A participant that has
// moved is called where it was until something answers there, or the log is told of the move.
func TestMovedParticipant(t *testing.T) {
	t.Parallel()
	env := append(emptyDatabase(t, mariadb), "RETRY_INTERVAL_MAX=1")
	c, old, moved := start(t, env...), newParticipant(t), newParticipant(t)
	open, told := prepare(t, c, old, "open", 8), prepare(t, c, old, "told", 8)
	moved.serve(t)
	submit(t, c, open)
	submit(t, c, told)
	submit(t, c, prepare(t, c, moved, "new", 8))
	eventually(t, 5*time.Second, "the Confirm of a new one", func() bool { return c.status("new") == "succeed" })
	eventually(t, 15*time.Second, "three attempts", func() bool { return strings.Count(c.output.String(), `"branch call failed"`) >= 6 })
	newSession(t, env).exec(t, "UPDATE trans_branch_op SET url = REPLACE(url, ?, ?) WHERE gid = 'told'", old.addr, moved.addr)
	eventually(t, 5*time.Second, "the Confirm of the one that was told", func() bool { return c.status("told") == "succeed" })
	if got := c.status("open"); got != "submitted" || moved.got("Confirm", "open") != 0 {
		t.Errorf("it is %s, and the new address was asked", got)
	}
	old.serve(t)
	eventually(t, 5*time.Second, "the Confirm at the old address", func() bool { return c.status("open") == "succeed" })
}

func TestDatabaseRestart(t *testing.T) {
	t.Parallel()
	db := ownMariaDB(t)
	c, p := start(t, emptyDatabase(t, db)...), newParticipant(t)
	p.serve(t)
	prepare(t, c, p, "before", 3)
	decided := prepare(t, c, p, "decided", 8)
	submit(t, c, decided)
	db.Kill()
	eventually(t, 3*time.Second, "not ready", func() bool { return !c.ready() })
	if _, err := c.Prepare(t.Context(), request("during", 3)); err == nil {
		t.Error("Prepare succeeded without a database")
	}
	if err := db.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 3*time.Second, "ready again", c.ready)
	submit(t, c, prepare(t, c, p, "after", 8))
	eventually(t, 2*time.Second, "a new transaction", func() bool { return c.status("after") == "succeed" })
	eventually(t, 15*time.Second, "the old time-out", func() bool { return c.status("before") == "failed" })
	eventually(t, 15*time.Second, "the old decision", func() bool { return c.status("decided") == "succeed" })
}

func TestFrozenDatabaseHoldsNobodyForLong(t *testing.T) {
	t.Parallel()
	db := ownMariaDB(t)
	c, p := start(t, append(emptyDatabase(t, db), "STORE_TIMEOUT=1")...), newParticipant(t)
	p.serve(t)
	prepare(t, c, p, "before", 3)
	thaw, err := db.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	if _, err = c.Prepare(ctx, request("during", 3)); err == nil || status.Code(err) == codes.DeadlineExceeded {
		t.Errorf("Prepare on a frozen database: %v", err)
	}
	for _, status := range unfinished {
		eventually(t, 5*time.Second, "recovery gives up its look", func() bool {
			return strings.Contains(c.output.String(), `overdue transactions wait until the database answers again","service":"dtm","status":"`+status)
		})
	}
	thaw()
	// A worker may have taken the transaction for RETRY_INTERVAL with its last statement before it gave up.
	eventually(t, 15*time.Second, "the time-out", func() bool { return c.status("before") == "failed" })
}

// TestIdleConnectionsAreKept: the limit is for answers that are awaited, not for idle connections.
func TestIdleConnectionsAreKept(t *testing.T) {
	t.Parallel()
	c, p := start(t, append(emptyDatabase(t, mariadb), "STORE_TIMEOUT=1")...), newParticipant(t)
	p.serve(t)
	for _, gid := range []string{"first", "second"} {
		var calls sync.WaitGroup
		for i := range 20 {
			calls.Go(func() {
				if _, err := c.Prepare(t.Context(), request(fmt.Sprint(gid, i), 30)); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		prepare(t, c, p, gid, 2)
		eventually(t, 6*time.Second, "the time-out", func() bool { return c.status(gid) == "failed" })
	}
	if out := c.output.String(); strings.Contains(out, "bad idle connection") {
		t.Error(out)
	}
}

// TestTwoCoordinators: two instances on one database share the work, whatever their time zones.
func TestTwoCoordinators(t *testing.T) {
	t.Parallel()
	env := emptyDatabase(t, mariadb)
	first, second := launch(t, env...), launch(t, append(env, "TZ=Asia/Shanghai")...)
	for _, c := range []*coordinator{first, second} {
		eventually(t, 20*time.Second, "ready", c.ready)
	}
	p := newParticipant(t)
	p.serve(t)
	submit(t, second, prepare(t, first, p, "shared", 8))
	eventually(t, 2*time.Second, "the Confirm", func() bool { return first.status("shared") == "succeed" })
	prepare(t, second, p, "zone", 8)
	if _, body, err := second.call(http.MethodGet, "/api/dtmsvr/query?gid=zone", nil); err != nil || strings.Contains(string(body), "+08:00") {
		t.Errorf("%s %v", body, err)
	}
}
