package tcclaws

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// cancelMeetsUncommittedTry: a Cancel whose Try is not yet committed waits for it and then undoes it, or takes its place, so that the Try
// changes nothing.
func cancelMeetsUncommittedTry(t *testing.T, s branch) {
	release := s.lock(t)
	tried, canceled := make(chan error, 1), make(chan error, 1)
	go func() { tried <- s.phase("try") }()
	AwaitLockWaits(t, s.DB, 1)
	go func() { canceled <- s.phase("cancel") }()
	ended := s.Canceled
	require.Eventually(t, func() bool {
		if len(canceled) > 0 {
			ended = s.Before
		}
		return len(canceled) > 0 || lockWaits(t, s.DB)[name(t, s.DB)] == 2
	}, 3*time.Second, 10*time.Millisecond, "Cancel answers, or waits")
	release()

	require.NoError(t, <-tried)
	require.NoError(t, <-canceled)
	s.reads(t, ended, "a Cancel that met its Try half done")
}

// cancelsMeetRefusedTry: two Cancels wait for a Try that then refuses, and may deadlock over its place in the barrier. Neither may succeed
// without having taken that place: a repeated Try would reserve what nothing releases.
func cancelsMeetRefusedTry(t *testing.T, s branch) {
	// The Try, as far as the barrier sees it: its row, then a rollback.
	try, err := s.DB.BeginTx(context.Background(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = try.Rollback() })
	_, err = try.ExecContext(t.Context(), `INSERT INTO barrier (trans_type, gid, branch_id, op, barrier_id, reason)
		VALUES ('tcc', ?, ?, 'try', '01', 'try')`, s.GID, branchID)
	require.NoError(t, err)
	canceled := make(chan error, 2)
	for range 2 {
		go func() { canceled <- s.phase("cancel") }()
	}
	AwaitLockWaits(t, s.DB, 1) // those of a batch wait as one
	require.NoError(t, try.Rollback())
	for range 2 {
		if err := <-canceled; err != nil {
			s.must(t, "cancel") // the coordinator sends it again
		}
	}
	s.must(t, "try")
	s.reads(t, s.Before, "a Try behind its Cancels")
}

// repeatedCallsMeet: a call is sent again while the first one waits for a row. Both are answered OK: the second one is not refused for what the
// first one has done.
func repeatedCallsMeet(op string) func(*testing.T, branch) {
	return func(t *testing.T, s branch) {
		if op != "try" {
			s.must(t, "try")
		}
		release := s.lock(t)
		answers := make(chan error, 2)
		for n := range 2 {
			go func() { answers <- s.phase(op) }()
			require.Eventually(t, func() bool {
				return lockWaits(t, s.DB)[name(t, s.DB)] > n || op != "try" && len(answers) > n
			}, 3*time.Second, 10*time.Millisecond, "it waits, or needs nothing that is locked")
		}
		release()
		for range 2 {
			require.NoError(t, <-answers)
		}
		s.reads(t, map[string]string{"try": s.Tried, "confirm": s.Confirmed, "cancel": s.Canceled}[op], "a repeated "+op)
	}
}

// lock locks a row that the Try needs, until release is called.
func (s branch) lock(t *testing.T) (release func()) {
	t.Helper()
	tx, err := s.DB.BeginTx(context.Background(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })
	rows, err := tx.QueryContext(t.Context(), s.Lock)
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	require.True(t, rows.Next(), "Lock finds a row")
	require.NoError(t, rows.Err())
	return func() { require.NoError(t, tx.Rollback()) }
}

// AwaitLockWaits waits until n transactions of db's database wait for a row lock.
func AwaitLockWaits(t testing.TB, db *sql.DB, n int) {
	t.Helper()
	waiting, of := 0, name(t, db)
	for deadline := time.Now().Add(3 * time.Second); waiting < n; waiting = lockWaits(t, db)[of] {
		require.True(t, time.Now().Before(deadline), "%d transactions wait for a lock, not %d", waiting, n)
	}
}

func name(t testing.TB, db *sql.DB) (name string) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT DATABASE()").Scan(&name))
	return name
}

var looks struct {
	sync.Mutex
	at      time.Time
	waiting map[string]int
}

// lockWaits counts the transactions that wait for a row lock, by database. All tests share one query: the server refreshes innodb_trx only when
// nobody has read it for 100 ms.
func lockWaits(t testing.TB, db *sql.DB) map[string]int {
	t.Helper()
	asked := time.Now()
	looks.Lock()
	defer looks.Unlock()
	if looks.at.After(asked) {
		return looks.waiting
	}
	time.Sleep(time.Until(looks.at.Add(120 * time.Millisecond)))
	rows, err := db.QueryContext(t.Context(), `SELECT p.db, COUNT(*) FROM information_schema.innodb_trx x
		JOIN information_schema.processlist p ON p.id = x.trx_mysql_thread_id
		WHERE x.trx_state = 'LOCK WAIT' AND p.db IS NOT NULL GROUP BY p.db`)
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	looks.waiting = map[string]int{}
	for rows.Next() {
		var name string
		var n int
		require.NoError(t, rows.Scan(&name, &n))
		looks.waiting[name] = n
	}
	require.NoError(t, rows.Err())
	looks.at = time.Now()
	return looks.waiting
}

// races: three concurrent deliveries of each of two calls, and what the coordinator sends again after them, end in one of the states that the
// calls in sequence could end in.
func races(t *testing.T, newBranch func(t *testing.T) branch) {
	for _, r := range []struct {
		before, a, b string
		// again is delivered once more after the race and must succeed then.
		again []string
		want  func(s branch) []string
	}{
		{"", "try", "try", []string{"try"}, func(s branch) []string { return []string{s.Tried} }},
		{"", "try", "cancel", []string{"try", "cancel"}, func(s branch) []string { return []string{s.Before, s.Canceled} }},
		{"", "try", "confirm", []string{"try", "confirm"}, func(s branch) []string { return []string{s.Confirmed} }},
		{"try", "confirm", "confirm", []string{"confirm"}, func(s branch) []string { return []string{s.Confirmed} }},
		{"try", "cancel", "cancel", []string{"cancel"}, func(s branch) []string { return []string{s.Canceled} }},
		// The coordinator never sends both. One of them wins, the other stays an error.
		{"try", "confirm", "cancel", nil, func(s branch) []string { return []string{s.Confirmed, s.Canceled} }},
		{"", "cancel", "cancel", []string{"cancel"}, func(s branch) []string { return []string{s.Before} }},
	} {
		t.Run(fmt.Sprintf("%s-%s-after-%s", r.a, r.b, r.before), func(t *testing.T) {
			t.Parallel()
			for round := range 3 {
				s := newBranch(t)
				if r.before != "" {
					s.must(t, r.before)
				}
				var wg sync.WaitGroup
				start := make(chan struct{})
				for i := range 6 {
					op := []string{r.a, r.b}[(i+round)%2]
					wg.Go(func() {
						<-start
						_ = s.phase(op) // an error only means: deliver again
					})
				}
				close(start)
				wg.Wait()
				for _, op := range r.again {
					s.must(t, op)
				}
				require.Contains(t, r.want(s), s.Snapshot(t), "round %d", round)
			}
		})
	}
}
