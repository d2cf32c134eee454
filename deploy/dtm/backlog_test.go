package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// backlog is what recovery is tested with: a participant is away for 40 s at 50 payments a second.
const backlog = 2000

// TestBacklog: while thousands of Cancels wait for a participant that is away, a transaction that was not submitted is canceled in its time.
// When the participant is back, the backlog ends within the bound that README.md states, or four times that: other tests have the processors
// too.
func TestBacklog(t *testing.T) {
	t.Parallel()
	env := emptyDatabase(t, mariadb)
	c, p, away, s := start(t, env...), newParticipant(t), newParticipant(t), newSession(t, env)
	p.serve(t)
	s.overdue(t, away, "aborting", backlog)
	prepare(t, c, p, "unsubmitted", 8)
	eventually(t, 15*time.Second, "the time-out", func() bool { return c.status("unsubmitted") == "failed" })
	if n := s.open(t); n != backlog {
		t.Fatalf("%d of %d wait for their participant", n, backlog)
	}
	away.takes = 5 * time.Millisecond
	away.serve(t)
	back, first := time.Now(), time.Duration(0)
	eventually(t, 4*(10*time.Second+backlog*time.Second/100), "the backlog", func() bool {
		n := s.open(t)
		if first == 0 && n <= backlog/2 {
			first = time.Since(back)
		}
		return n == 0
	})
	t.Logf("%d transactions in %v, the first half at %.0f a second", backlog, time.Since(back).Round(time.Millisecond), backlog/2/first.Seconds())
}

// TestOldestFirst: of the transactions with one status the one that is overdue for longest is worked on first. One whose row is locked, as by a
// host that vanished, and one that cannot even be attempted keep no other waiting.
func TestOldestFirst(t *testing.T) {
	t.Parallel()
	for _, status := range []string{"submitted", "aborting"} {
		t.Run(status, func(t *testing.T) {
			t.Parallel()
			const n = 40
			env := append(emptyDatabase(t, mariadb), "RECOVERY_WORKERS=1")
			c, p, s := start(t, env...), newParticipant(t), newSession(t, env)
			c.kill()
			p.serve(t)
			s.overdue(t, p, status, n)
			s.exec(t, "UPDATE trans_global SET options = '{' WHERE gid = ?", fmt.Sprint(status, "-", n-1))
			holder := newSession(t, env)
			holder.exec(t, "BEGIN")
			holder.exec(t, "SELECT id FROM trans_global WHERE gid = ? FOR UPDATE", fmt.Sprint(status, "-", n))
			c.run(t)
			eventually(t, 15*time.Second, "all others", func() bool { return s.open(t) == 2 })
			holder.exec(t, "COMMIT")
			eventually(t, 5*time.Second, "the one that was locked", func() bool { return s.open(t) == 1 })
			var want []string
			for i := n - 2; i > 0; i-- {
				want = append(want, fmt.Sprint(status, "-", i))
			}
			want = append(want, fmt.Sprint(status, "-", n))
			if got := slices.Compact(p.called()); !slices.Equal(got, want) {
				t.Errorf("worked on in the order %v", got)
			}
			if out := c.output.String(); !strings.Contains(out, fmt.Sprintf(`"gid":"%s-%d"`, status, n-1)) {
				t.Errorf("one that cannot be attempted is not told: %s", out)
			}
		})
	}
}

// TestHastenedKeepsItsPlace: making an overdue transaction due again does not put it after all others.
func TestHastenedKeepsItsPlace(t *testing.T) {
	t.Parallel()
	env := emptyDatabase(t, mariadb)
	c, s := start(t, env...), newSession(t, env)
	s.overdue(t, newParticipant(t), "succeed", 2) // recovery itself moves no finished ones
	c.push(t, "succeed-2")
	if n := s.number(t, "SELECT COUNT(*) FROM trans_global WHERE next_cron_time < UTC_TIMESTAMP() - INTERVAL 1 HOUR"); n != 2 {
		t.Errorf("%d of 2 are as long overdue as before", n)
	}
	s.exec(t, "UPDATE trans_global SET next_cron_time = UTC_TIMESTAMP() + INTERVAL 1 HOUR WHERE gid = 'succeed-2'")
	c.push(t, "succeed-2")
	if n := s.number(t, "SELECT COUNT(*) FROM trans_global WHERE next_cron_time <= UTC_TIMESTAMP()"); n != 2 {
		t.Errorf("%d of 2 are overdue", n)
	}
}

// TestTwoShareABacklog: two instances take no transaction twice, and do not get into each other's way.
func TestTwoShareABacklog(t *testing.T) {
	t.Parallel()
	const n = 400
	env := emptyDatabase(t, mariadb)
	one, two, p, s := start(t, env...), start(t, env...), newParticipant(t), newSession(t, env)
	p.serve(t)
	s.overdue(t, p, "aborting", n)
	eventually(t, 30*time.Second, "the backlog", func() bool { return s.open(t) == 0 })
	for i := range n {
		for _, id := range branches {
			if calls := p.got("Cancel"+id, fmt.Sprint("aborting-", i+1)); calls != 1 {
				t.Errorf("Cancel of branch %s of %d: %d calls", id, i+1, calls)
			}
		}
	}
	for _, c := range []*coordinator{one, two} {
		if out := c.output.String(); strings.Contains(out, "undone to end") || strings.Contains(out, "timeout exceeded") {
			t.Errorf("they fight: %s", out)
		}
	}
}

// TestLookReadsOneEntry: however many transactions are overdue or finished, a look for the oldest reads one, and sorts none.
func TestLookReadsOneEntry(t *testing.T) {
	t.Parallel()
	env := emptyDatabase(t, mariadb)
	start(t, env...).kill() // it has made the tables
	p, s := newParticipant(t), newSession(t, env)
	for _, status := range append([]string{"succeed"}, unfinished...) {
		s.overdue(t, p, status, backlog)
	}
	for _, status := range unfinished {
		s.exec(t, "FLUSH STATUS")
		var id int
		var gid string
		if err := s.QueryRowContext(t.Context(), oldestOverdue, status, time.Now()).Scan(&id, &gid); err != nil {
			t.Fatal(err)
		}
		read := s.number(t, `SELECT SUM(variable_value) FROM information_schema.session_status
			WHERE variable_name LIKE 'Handler_read%' OR variable_name = 'Sort_rows'`)
		if gid != fmt.Sprint(status, "-", backlog) || read > 2 {
			t.Errorf("%s: it found %s and read %d rows", status, gid, read)
		}
	}
}

// overdue adds n transactions with status to the log, whose four branches are p's. The last one is overdue for longest: an hour and n seconds.
func (s session) overdue(t *testing.T, p *participant, status string, n int) {
	t.Helper()
	s.exec(t, fmt.Sprintf(`INSERT INTO trans_branch_op (gid, url, branch_id, op, status, create_time, update_time)
		SELECT CONCAT(?, '-', t.seq), CONCAT(?, '/test.Branch/', method, '0', b.seq), CONCAT('0', b.seq), LOWER(method), 'prepared',
			UTC_TIMESTAMP(), UTC_TIMESTAMP()
		FROM seq_1_to_%d t, seq_1_to_4 b, (SELECT 'Cancel' AS method UNION SELECT 'Confirm') ops ORDER BY t.seq, b.seq`, n), status, p.addr)
	s.exec(t, fmt.Sprintf(`INSERT INTO trans_global (gid, trans_type, status, query_prepared, protocol, create_time, update_time, options,
		next_cron_interval, next_cron_time)
		SELECT CONCAT(?, '-', seq), 'tcc', ?, '', 'grpc', at, at, '{"timeout_to_fail":8}', 8, at
		FROM (SELECT seq, UTC_TIMESTAMP() - INTERVAL 1 HOUR - INTERVAL seq SECOND AS at FROM seq_1_to_%d) overdue`, n), status, status)
}

// open returns how many transactions are decided and not finished.
func (s session) open(t *testing.T) int {
	t.Helper()
	return s.number(t, "SELECT COUNT(*) FROM trans_global WHERE status IN ('submitted', 'aborting')")
}
