package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestDeadlocks makes the database end a deadlock by undoing one statement of the coordinator, at each step of a transaction, once and three
// times. The calls are answered OK, and the transaction ends as it should without waiting for its next attempt.
func TestDeadlocks(t *testing.T) {
	t.Parallel()
	// Only the call that was undone repairs it in time.
	env := append(emptyDatabase(t, mariadb), "RETRY_INTERVAL_MAX=600")
	c, p := start(t, env...), newParticipant(t)
	p.serve(t)
	pays := func(t *testing.T, gid string) {
		submit(t, c, openFour(t, c, p, gid, 8))
		eventually(t, 3*time.Second, "the Confirms", func() bool { return c.status(gid) == "succeed" })
	}
	cancels := func(t *testing.T, gid string) {
		if _, err := c.Abort(t.Context(), openFour(t, c, p, gid, 8)); err != nil {
			t.Fatal(err)
		}
		eventually(t, 3*time.Second, "the Cancels", func() bool { return c.status(gid) == "failed" })
	}
	timesOut := func(t *testing.T, gid string) {
		openFour(t, c, p, gid, 2)
		eventually(t, 6*time.Second, "the Cancels", func() bool { return c.status(gid) == "failed" })
	}
	// One branch is away, and succeeds when it is called the next time.
	retries := func(t *testing.T, gid string) {
		away := newParticipant(t)
		submit(t, c, prepare(t, c, away, gid, 8))
		s := newSession(t, env)
		eventually(t, 3*time.Second, "a failed Confirm", func() bool {
			return s.number(t, "SELECT tries FROM trans_branch_op WHERE gid = ? AND op = 'confirm'", gid) > 0
		})
		away.serve(t)
		c.push(t, gid)
		eventually(t, 4*time.Second, "the Confirm", func() bool { return c.status(gid) == "succeed" })
	}
	const global, branch = "trans_global", "trans_branch_op"
	for name, step := range map[string]struct {
		event, table, condition string
		run                     func(*testing.T, string)
	}{
		"prepare":      {"INSERT", global, "TRUE", pays},
		"branches":     {"INSERT", branch, "NEW.branch_id = '02' AND NEW.status = 'prepared'", pays},
		"submitted":    {"UPDATE", global, "NEW.status = 'submitted' AND OLD.status = 'prepared'", pays},
		"failed call":  {"UPDATE", branch, "NEW.tries > OLD.tries", retries},
		"succeed":      {"UPDATE", global, "NEW.status = 'succeed'", pays},
		"aborting":     {"UPDATE", global, "NEW.status = 'aborting' AND OLD.status = 'prepared'", cancels},
		"failed":       {"UPDATE", global, "NEW.status = 'failed'", cancels},
		"taken up":     {"UPDATE", global, "NEW.next_cron_time > OLD.next_cron_time", timesOut},
		"timed out":    {"UPDATE", global, "NEW.status = 'aborting' AND OLD.status = 'prepared'", timesOut},
		"next attempt": {"UPDATE", global, "NEW.next_cron_time <> OLD.next_cron_time", retries},
		"made due":     {"UPDATE", global, "NEW.next_cron_time < OLD.next_cron_time", retries},
	} {
		for _, n := range []int{1, 3} {
			gid := fmt.Sprint(strings.ReplaceAll(name, " ", "-"), "-", n)
			undone := newSession(t, env).deadlock(t, n, step.event, step.table, fmt.Sprintf("NEW.gid = '%s' AND %s", gid, step.condition))
			t.Run(gid, func(t *testing.T) {
				t.Parallel()
				step.run(t, gid)
				if got := undone(t); got <= n {
					t.Errorf("the step was done %d times: it was to be undone %d times", got, n)
				}
			})
		}
	}
	t.Cleanup(func() { // after the parallel ones
		if out := c.output.String(); strings.Contains(out, "panic") || !strings.Contains(out, "repeated") {
			t.Errorf("each is told as a repetition, and none as a panic: %s", out)
		}
	})
}

// TestDeadlockAtStart: half-done transactions are made due at the start, through a deadlock too; otherwise they would wait for their next
// attempt.
func TestDeadlockAtStart(t *testing.T) {
	t.Parallel()
	env := append(emptyDatabase(t, mariadb), "RETRY_INTERVAL_MAX=600")
	c, p, s := start(t, env...), newParticipant(t), newSession(t, env)
	submit(t, c, prepare(t, c, p, "half", 8))
	eventually(t, 3*time.Second, "a failed Confirm", func() bool {
		return s.number(t, "SELECT tries FROM trans_branch_op WHERE op = 'confirm'") > 0
	})
	c.kill()
	s.exec(t, "UPDATE trans_global SET next_cron_time = NOW() + INTERVAL 600 SECOND")
	p.serve(t)
	undone := s.deadlock(t, 3, "UPDATE", "trans_global", "NEW.next_cron_time < OLD.next_cron_time")
	c.run(t)
	eventually(t, 20*time.Second, "ready again", c.ready)
	eventually(t, 4*time.Second, "the Confirm", func() bool { return c.status("half") == "succeed" })
	if n := undone(t); n < 4 {
		t.Errorf("it was made due %d times", n)
	}
}

// TestEndlessDeadlocks: deadlocks that do not end are reported after a few attempts, and nothing is half done.
func TestEndlessDeadlocks(t *testing.T) {
	t.Parallel()
	env := emptyDatabase(t, mariadb)
	c, p, s := start(t, env...), newParticipant(t), newSession(t, env)
	p.serve(t)
	const ever = 1_000_000
	undone := map[string]func(*testing.T) int{
		"prepare":  s.deadlock(t, ever, "INSERT", "trans_global", "NEW.gid = 'prepare'"),
		"branches": s.deadlock(t, ever, "INSERT", "trans_branch_op", "NEW.gid = 'branches' AND NEW.branch_id = '01' AND NEW.op = 'confirm'"),
		"submit":   s.deadlock(t, ever, "UPDATE", "trans_global", "NEW.gid = 'submit'"),
	}
	fails := func(step string, err error) {
		t.Helper()
		if code := status.Code(err); err == nil || code == codes.Aborted || code == codes.DeadlineExceeded ||
			!strings.Contains(err.Error(), "nothing was changed") {
			t.Errorf("%s: %v", step, err)
		}
		if n := undone[step](t); n < 2 || n > 20 {
			t.Errorf("%s was tried %d times", step, n)
		}
	}
	for _, step := range []string{"prepare", "branches"} {
		_, err := c.Prepare(within(t, 5*time.Second), request(step, 8))
		fails(step, err)
		if got := c.status(step); got != "unknown" {
			t.Errorf("after %s failed: %s", step, got)
		}
		if n := s.number(t, "SELECT COUNT(*) FROM trans_branch_op WHERE gid = ?", step); n != 0 {
			t.Errorf("after %s failed it has left %d rows", step, n)
		}
	}

	req := openFour(t, c, p, "submit", 8)
	_, err := c.Submit(within(t, 5*time.Second), req)
	fails("submit", err)
	if got := c.status("submit"); got != "prepared" {
		t.Errorf("after Submit failed: %s", got)
	}
	for _, id := range branches {
		if p.got("Confirm"+id, "submit") > 0 {
			t.Errorf("branch %s was confirmed", id)
		}
	}
}

// TestRealDeadlock makes a deadlock between Submit and another session, which the database ends by undoing Submit's write.
func TestRealDeadlock(t *testing.T) {
	t.Parallel()
	env := emptyDatabase(t, mariadb)
	c, p := start(t, env...), newParticipant(t)
	p.serve(t)
	req, s, watch := openFour(t, c, p, "real", 8), newSession(t, env), newSession(t, env)
	s.exec(t, "CREATE TABLE heavy (n INT PRIMARY KEY)")
	s.exec(t, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ") // which locks gaps
	s.exec(t, "BEGIN")
	// The transaction that has changed less is undone.
	s.exec(t, "INSERT INTO heavy SELECT seq FROM seq_1_to_1000")
	// Submit gets its row, and waits for the row's new place in the index by status.
	s.exec(t, "SELECT id FROM trans_global FORCE INDEX (status_next_cron_time) WHERE status = 'submitted' FOR UPDATE")
	answered := submitting(t, c, req)
	eventually(t, 5*time.Second, "Submit waits", func() bool {
		time.Sleep(150 * time.Millisecond) // the server does not refresh its answer sooner
		return watch.number(t,
			"SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT' AND trx_query LIKE 'UPDATE trans_global%real%'") == 1
	})
	s.exec(t, "SELECT id FROM trans_global WHERE gid = 'real' FOR UPDATE")
	s.exec(t, "COMMIT")
	if err := <-answered; err != nil {
		t.Error(err)
	}
	confirmed(t, c, p, "real", true)
	if out := c.output.String(); !strings.Contains(out, "Deadlock found") || !strings.Contains(out, "repeated") {
		t.Errorf("there was no deadlock: %s", out)
	}
}
