package main

import (
	"database/sql"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stop sends SIGTERM and waits for the end, for at most limit.
func (c *coordinator) stop(t *testing.T, limit time.Duration) {
	t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-c.exited:
		if err != nil {
			t.Errorf("%v\n%s", err, c.output)
		}
	case <-time.After(limit):
		t.Fatalf("it runs on after %v", limit)
	}
}

func TestStopsWhenTold(t *testing.T) {
	t.Parallel()
	start(t, emptyDatabase(t, mariadb)...).stop(t, 2*time.Second)
}

// TestStopFinishesTheConfirms: the Confirm goes on after the answer to Submit. A stop waits for it, so that it need not wait for the next start.
func TestStopFinishesTheConfirms(t *testing.T) {
	t.Parallel()
	env := emptyDatabase(t, mariadb)
	c, p := start(t, env...), newParticipant(t)
	p.takes = 500 * time.Millisecond
	p.serve(t)
	submit(t, c, prepare(t, c, p, "behind", 8))
	c.stop(t, 3*time.Second)
	if p.got("Confirm", "behind") != 1 {
		t.Errorf("the branch was asked %v", p.seen)
	}
	if got := stored(t, env, "behind"); got != "succeed" {
		t.Errorf("the log says %s", got)
	}
}

// TestStopAnswersCallsUnderWay: a call that was accepted is answered.
func TestStopAnswersCallsUnderWay(t *testing.T) {
	t.Parallel()
	env := emptyDatabase(t, mariadb)
	c := start(t, env...)
	db, err := sql.Open("mysql", mariadb.DSN(strings.TrimPrefix(env[1], "STORE_DB=")))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1) // LOCK TABLES belongs to its connection
	exec := func(stmt string) {
		if _, err := db.ExecContext(t.Context(), stmt); err != nil {
			t.Fatal(err)
		}
	}
	exec("LOCK TABLES trans_global WRITE")
	prepared := make(chan error, 1)
	go func() {
		_, err := c.Prepare(t.Context(), request("under-way", 8))
		prepared <- err
	}()
	eventually(t, 5*time.Second, "Prepare waits for the log", func() bool {
		var n int
		err := db.QueryRowContext(t.Context(),
			"SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%under-way%' AND id <> CONNECTION_ID()").Scan(&n)
		return err == nil && n > 0
	})
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "it takes no calls any more", func() bool { return !c.ready() })
	select {
	case err := <-c.exited:
		t.Fatalf("it ended with a call under way: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	exec("UNLOCK TABLES")
	if err := <-prepared; err != nil {
		t.Errorf("Prepare: %v", err)
	}
	if err := <-c.exited; err != nil {
		t.Errorf("%v\n%s", err, c.output)
	}
}

// TestInstancesOfAParticipant: branches of a participant with several instances have all their addresses. A Confirm goes to one that is alive,
// and one that is back is used again.
func TestInstancesOfAParticipant(t *testing.T) {
	t.Parallel()
	c := start(t, emptyDatabase(t, mariadb)...)
	one, two := newParticipant(t), newParticipant(t)
	both := &participant{addr: one.addr + "," + two.addr}
	confirm := func(gid string) {
		submit(t, c, prepare(t, c, both, gid, 8))
		eventually(t, 2*time.Second, "the Confirm of "+gid, func() bool { return c.status(gid) == "succeed" })
	}
	stopOne := one.serve(t)
	for _, gid := range []string{"a", "b", "c"} {
		confirm(gid)
	}
	stopTwo := two.serve(t)
	eventually(t, 5*time.Second, "the second is found", func() bool {
		gid := "found-" + time.Now().Format("05.000000")
		confirm(gid)
		return two.got("Confirm", gid) > 0
	})
	stopOne()
	for _, gid := range []string{"d", "e", "f", "g"} {
		confirm(gid)
		if two.got("Confirm", gid) != 1 {
			t.Errorf("%s: the living one was asked %v", gid, two.seen)
		}
	}
	// While there are no calls, gRPC dials the one that is away ever more rarely.
	lastPause, stopRejecting := one.rejectAll(t)
	eventually(t, 30*time.Second, "gRPC pauses", func() bool { return lastPause() > 2200*time.Millisecond })
	stopRejecting()
	one.serve(t)
	eventually(t, 2500*time.Millisecond, "the first is used again", func() bool {
		gid := "back-" + time.Now().Format("05.000000")
		confirm(gid)
		return one.got("Confirm", gid) > 0
	})
	stopTwo()
	for _, gid := range []string{"h", "i", "j", "k"} {
		confirm(gid)
	}
}

// stored returns the transaction's status in the log of a coordinator with env.
func stored(t *testing.T, env []string, gid string) (status string) {
	t.Helper()
	db, err := sql.Open("mysql", mariadb.DSN(strings.TrimPrefix(env[1], "STORE_DB=")))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if err := db.QueryRowContext(t.Context(), "SELECT status FROM trans_global WHERE gid = ?", gid).Scan(&status); err != nil {
		t.Fatal(err)
	}
	return status
}
