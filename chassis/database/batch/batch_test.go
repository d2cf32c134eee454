package batch_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/batch"
	"example.com/fourfold/chassis/database/mysqltest"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// transfer moves one unit from one account to another.
type transfer struct{ from, to string }

var errEmpty = errors.New("the account is empty")

// bank has accounts of 100 units each; what is moved is in them and in the table moved.
type bank struct {
	*batch.Runner[transfer]
	db *sql.DB
	// sizes are those of the batches whose Write has been called.
	sizes []int
	// wrote is called by every Write.
	wrote func(items []*batch.Item[transfer])
	mu    sync.Mutex
}

func newBank(t *testing.T) *bank {
	t.Helper()
	migrations := fstest.MapFS{"0001_bank.sql": {Data: []byte(`-- +goose Up
CREATE TABLE account (id VARCHAR(16) PRIMARY KEY, units INT NOT NULL, CHECK (units >= 0));
CREATE TABLE moved (id BIGINT AUTO_INCREMENT PRIMARY KEY, source VARCHAR(16) NOT NULL, target VARCHAR(16) NOT NULL);
`)}}
	b := &bank{db: mysqltest.Open(t, migrations), wrote: func([]*batch.Item[transfer]) {}}
	for _, id := range []string{"a", "b", "c", "d"} {
		_, err := b.db.ExecContext(t.Context(), "INSERT INTO account VALUES (?, 100)", id)
		require.NoError(t, err)
	}
	_, err := b.db.ExecContext(t.Context(), "INSERT INTO account VALUES ('empty', 0)")
	require.NoError(t, err)
	b.Runner = batch.New(b.db, b.work)
	return b
}

func (b *bank) work() batch.Work[transfer] {
	units := map[string]int{}
	return batch.Work[transfer]{
		Read: func(items []*batch.Item[transfer]) []batch.Statement {
			var ids []string
			for _, i := range items {
				ids = append(ids, i.Request.from, i.Request.to)
			}
			slices.Sort(ids)
			in, args := database.In(ids)
			return []batch.Statement{batch.Find("SELECT id, units FROM account FORCE INDEX (PRIMARY) WHERE id IN ("+in+") ORDER BY id FOR UPDATE", args,
				func(scan func(...any) error) error {
					var id string
					var n int
					err := scan(&id, &n)
					units[id] = n
					return err
				})}
		},
		Write: func(items []*batch.Item[transfer]) (writes []batch.Statement, err error) {
			b.mu.Lock()
			b.sizes = append(b.sizes, len(items))
			wrote := b.wrote
			b.mu.Unlock()
			wrote(items)
			var moved batch.Values
			for _, i := range items {
				from, to := i.Request.from, i.Request.to
				if units[from] == 0 && from == "empty" {
					i.Refuse(errEmpty)
					continue
				}
				writes = append(writes, batch.Change("UPDATE account SET units = units - 1 WHERE id = ?", from),
					batch.Change("UPDATE account SET units = units + 1 WHERE id = ?", to))
				moved.Add(from, to)
			}
			return append(writes, moved.Into("moved (source, target)")...), nil
		},
	}
}

// books returns the accounts' units and how often was moved what.
func (b *bank) books(t *testing.T) string {
	return mysqltest.Dump(t, b.db, "SELECT id, units FROM account ORDER BY id", "SELECT source, target, COUNT(*) FROM moved GROUP BY source, target")
}

// hold lets the first batch wait until the calls of during have come and wait, and returns when all are answered.
func (b *bank) hold(t *testing.T, first transfer, during ...transfer) (errs []error) {
	t.Helper()
	b.Patient()
	holds, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b.wrote = func([]*batch.Item[transfer]) { once.Do(func() { close(holds); <-goOn }) }
	var calls sync.WaitGroup
	calls.Go(func() { assert.NoError(t, b.Do(t.Context(), first)) })
	<-holds
	errs = make([]error, len(during))
	for n, d := range during {
		calls.Go(func() { errs[n] = b.Do(t.Context(), d) })
	}
	require.Eventually(t, func() bool { return b.Waiting() == len(during) }, 3*time.Second, time.Microsecond)
	close(goOn)
	calls.Wait()
	return errs
}

// TestShare: what comes while a batch is made is the next one.
func TestShare(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	for _, err := range b.hold(t, transfer{"a", "b"}, slices.Repeat([]transfer{{"c", "d"}}, 30)...) {
		require.NoError(t, err)
	}
	assert.Equal(t, []int{1, 30}, b.sizes)
	assert.Equal(t, "a 99\nb 101\nc 70\nd 130\nempty 0\n--\na b 1\nc d 30\n--\n", b.books(t))
}

// TestMost: no batch is larger than Most.
func TestMost(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	for _, err := range b.hold(t, transfer{"a", "b"}, slices.Repeat([]transfer{{"c", "d"}}, batch.Most+5)...) {
		require.NoError(t, err)
	}
	assert.Equal(t, []int{1, batch.Most, 5}, b.sizes)
}

// TestRefusedNeighbor: who refuses in a batch does not touch the others.
func TestRefusedNeighbor(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	errs := b.hold(t, transfer{"a", "b"}, transfer{"c", "d"}, transfer{"empty", "a"}, transfer{"c", "d"})
	assert.Equal(t, []int{1, 3}, b.sizes)
	refused := 0
	for n, err := range errs {
		if n == 1 {
			require.ErrorIs(t, err, errEmpty)
			refused++
			continue
		}
		require.NoError(t, err)
	}
	assert.Equal(t, 1, refused)
	assert.Equal(t, "a 99\nb 101\nc 98\nd 102\nempty 0\n--\na b 1\nc d 2\n--\n", b.books(t))
}

// TestBrokenNeighbor: what the database refuses of one call undoes the batch, and each call is made alone.
func TestBrokenNeighbor(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	_, err := b.db.ExecContext(t.Context(), "UPDATE account SET units = 0 WHERE id = 'b'") // which Write does not look at
	require.NoError(t, err)
	errs := b.hold(t, transfer{"a", "d"}, transfer{"c", "d"}, transfer{"b", "a"}, transfer{"c", "d"})
	require.NoError(t, errs[0])
	require.ErrorContains(t, errs[1], "CONSTRAINT")
	require.NoError(t, errs[2])
	assert.Equal(t, []int{1, 3, 1, 1, 1}, b.sizes)
	assert.Equal(t, "a 99\nb 0\nc 98\nd 103\nempty 0\n--\na d 1\nc d 2\n--\n", b.books(t))
}

// TestLockedNeighbor: a row that somebody has locked stops the calls that need it, those of their batch until their wait for it is over, and no
// others.
func TestLockedNeighbor(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	b.Patient()
	var locked *sql.Tx
	defer func() { _ = locked.Rollback() }()
	var once sync.Once
	holds, goOn := make(chan struct{}), make(chan struct{})
	b.wrote = func([]*batch.Item[transfer]) { once.Do(func() { close(holds); <-goOn }) }
	var calls sync.WaitGroup
	calls.Go(func() { assert.NoError(t, b.Do(t.Context(), transfer{"c", "d"})) })
	<-holds
	locked, err := b.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = locked.ExecContext(t.Context(), "SELECT units FROM account FORCE INDEX (PRIMARY) WHERE id = 'a' FOR UPDATE")
	require.NoError(t, err)
	stuck := make(chan error, 1)
	go func() { stuck <- b.Do(t.Context(), transfer{"a", "b"}) }()
	same := make(chan error, 1)
	go func() { same <- b.Do(t.Context(), transfer{"c", "d"}) }()
	require.Eventually(t, func() bool { return b.Waiting() == 2 }, 3*time.Second, time.Microsecond, "they share a batch")
	b.Impatient()
	close(goOn)
	calls.Wait()
	// The one that is stuck has read nothing yet; those that come now do not wait for it.
	require.Eventually(t, func() bool { return b.Waiting() == 0 }, 3*time.Second, time.Microsecond)
	before := time.Now()
	for range 5 {
		require.NoError(t, b.Do(t.Context(), transfer{"d", "b"}))
	}
	assert.Less(t, time.Since(before), time.Second, "less than the two seconds that a transaction waits for a lock")
	select {
	case err := <-same:
		require.NoError(t, err, "c and d were free")
	case err := <-stuck:
		t.Fatalf("a is locked: %v", err)
	case <-time.After(6 * time.Second):
		t.Fatal("the neighbor waits as long as a is locked")
	}
	require.NoError(t, locked.Rollback())
	if err := <-stuck; err != nil {
		require.ErrorContains(t, err, "Lock wait timeout")
		return
	}
}

// TestSame: a call that is the same as another one of its batch returns what that returns.
func TestSame(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	holds, goOn := make(chan struct{}), make(chan struct{})
	var made atomic.Int64
	r := batch.New(b.db, func() batch.Work[string] {
		return batch.Work[string]{
			Write: func(items []*batch.Item[string]) (writes []batch.Statement, err error) {
				first := map[string]*batch.Item[string]{}
				for _, i := range items {
					if same := first[i.Request]; same != nil {
						i.As(same)
						continue
					}
					first[i.Request] = i
					made.Add(1)
					if i.Request == "refused" {
						i.Refuse(errEmpty)
					}
				}
				if len(first) > 0 && first["first"] != nil {
					close(holds)
					<-goOn
				}
				return nil, nil
			},
		}
	})
	r.Patient()
	var calls sync.WaitGroup
	calls.Go(func() { assert.NoError(t, r.Do(t.Context(), "first")) })
	<-holds
	for range 20 {
		calls.Go(func() { assert.NoError(t, r.Do(t.Context(), "made")) })
		calls.Go(func() { assert.ErrorIs(t, r.Do(t.Context(), "refused"), errEmpty) })
	}
	require.Eventually(t, func() bool { return r.Waiting() == 40 }, 3*time.Second, time.Microsecond)
	close(goOn)
	calls.Wait()
	assert.EqualValues(t, 3, made.Load(), "once for the first, once for each of the others")
}

// TestContextEnds: who no longer waits gets an error that says nothing about the call. In a batch with others it is made.
func TestContextEnds(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	b.Patient()
	holds, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b.wrote = func([]*batch.Item[transfer]) { once.Do(func() { close(holds); <-goOn }) }
	var calls sync.WaitGroup
	calls.Go(func() { assert.NoError(t, b.Do(t.Context(), transfer{"a", "b"})) })
	<-holds
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { left <- b.Do(ctx, transfer{"c", "d"}) }()
	calls.Go(func() { assert.NoError(t, b.Do(t.Context(), transfer{"d", "b"})) })
	require.Eventually(t, func() bool { return b.Waiting() == 2 }, 3*time.Second, time.Microsecond)
	cancel()
	require.ErrorIs(t, <-left, context.Canceled)
	close(goOn)
	calls.Wait()
	require.Eventually(t, func() bool {
		return b.books(t) == "a 99\nb 102\nc 99\nd 100\nempty 0\n--\na b 1\nc d 1\nd b 1\n--\n"
	}, 3*time.Second, 5*time.Millisecond)
}

// TestOwnContextEnds: who begins a batch does not wait longer than its context, for a row that is locked.
func TestOwnContextEnds(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	locked, err := b.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { _ = locked.Rollback() }()
	_, err = locked.ExecContext(t.Context(), "SELECT units FROM account FORCE INDEX (PRIMARY) WHERE id = 'a' FOR UPDATE")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	require.ErrorIs(t, b.Do(ctx, transfer{"a", "b"}), context.DeadlineExceeded)
	assert.Less(t, time.Since(began), 1500*time.Millisecond, "less than the two seconds that a transaction waits for a lock")
}

// TestDeadlock: the victim of a deadlock is made again, as it is.
func TestDeadlock(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	owner := mysqltest.Owner(t, b.db)
	for _, stmt := range []string{"CREATE SEQUENCE forced NOCACHE", // which no rollback undoes
		`CREATE TRIGGER forced BEFORE INSERT ON moved FOR EACH ROW
			IF NEW.source = 'c' AND NEXT VALUE FOR forced < 4 THEN SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213; END IF`} {
		_, err := owner.ExecContext(t.Context(), stmt)
		require.NoError(t, err)
	}
	for _, err := range b.hold(t, transfer{"a", "b"}, transfer{"c", "d"}, transfer{"d", "a"}) {
		require.NoError(t, err)
	}
	assert.Equal(t, []int{1, 2, 2, 2, 2}, b.sizes)
	assert.Equal(t, "a 100\nb 101\nc 99\nd 100\nempty 0\n--\na b 1\nc d 1\nd a 1\n--\n", b.books(t))
}

// TestCommitWithoutAnswer: the answer to a batch's COMMIT is lost, so nobody knows whether it was made. Each call is made again by itself: the
// work must find out that it was.
func TestCommitWithoutAnswer(t *testing.T) {
	t.Parallel()
	at := mysqltest.Config(t)
	via, lose, lost := mysqltest.LoseAnswers(t, at.DSN, "once (id)")
	at.DSN = via
	db, err := database.Open(at)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	owner := mysqltest.Owner(t, db)
	_, err = owner.ExecContext(t.Context(), "CREATE TABLE once (id VARCHAR(16) PRIMARY KEY)")
	require.NoError(t, err)
	holds, goOn := make(chan struct{}), make(chan struct{})
	var first sync.Once
	var sizes []int
	var mu sync.Mutex
	r := batch.New(db, func() batch.Work[string] {
		made := map[string]bool{}
		return batch.Work[string]{
			Read: func(items []*batch.Item[string]) []batch.Statement {
				return []batch.Statement{batch.Find("SELECT id FROM once FOR UPDATE", nil, func(scan func(...any) error) error {
					var id string
					err := scan(&id)
					made[id] = true
					return err
				})}
			},
			Write: func(items []*batch.Item[string]) ([]batch.Statement, error) {
				mu.Lock()
				sizes = append(sizes, len(items))
				mu.Unlock()
				first.Do(func() { close(holds); <-goOn; lose() })
				var rows batch.Values
				for _, i := range items {
					if !made[i.Request] && i.Request != "first" {
						rows.Add(i.Request)
					}
				}
				return rows.Into("once (id)"), nil
			},
		}
	})
	r.Patient()
	var calls sync.WaitGroup
	calls.Go(func() { assert.NoError(t, r.Do(t.Context(), "first")) })
	<-holds
	for _, id := range []string{"a", "b", "c"} {
		calls.Go(func() { assert.NoError(t, r.Do(t.Context(), id)) })
	}
	require.Eventually(t, func() bool { return r.Waiting() == 3 }, 3*time.Second, time.Microsecond)
	close(goOn)
	calls.Wait()
	assert.EqualValues(t, 1, lost())
	assert.Equal(t, []int{1, 3, 1, 1, 1}, sizes)
	assert.Equal(t, "a\nb\nc\n--\n", mysqltest.Dump(t, db, "SELECT id FROM once ORDER BY id"))
}

// TestPanic: a panic in the work of a call is an error of that call, and leaves nothing locked.
func TestPanic(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	b.wrote = func(items []*batch.Item[transfer]) {
		for _, i := range items {
			if i.Request.from == "c" {
				panic("of c")
			}
		}
	}
	require.ErrorContains(t, b.Do(t.Context(), transfer{"c", "d"}), "panic: of c")
	require.NoError(t, b.Do(t.Context(), transfer{"d", "a"}), "d is not locked")
	assert.Zero(t, b.db.Stats().InUse)
}

// TestCrossing: batches of two processes that need the same rows in any order undo each other's at most for a moment; nothing is lost or doubled.
func TestCrossing(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	other := batch.New(b.db, b.work)
	accounts := []string{"a", "b", "c", "d"}
	var made atomic.Int64
	var calls sync.WaitGroup
	for worker := range 16 {
		runner := b.Runner
		if worker%2 == 0 {
			runner = other
		}
		calls.Go(func() {
			for n := range 20 {
				if assert.NoError(t, runner.Do(t.Context(), transfer{accounts[(worker+n)%4], accounts[(worker+3*n+1)%4]})) {
					made.Add(1)
				}
			}
		})
	}
	calls.Wait()
	var sum, moved int64
	require.NoError(t, b.db.QueryRowContext(t.Context(), "SELECT (SELECT SUM(units) FROM account), (SELECT COUNT(*) FROM moved)").Scan(&sum, &moved))
	assert.EqualValues(t, 400, sum)
	assert.Equal(t, made.Load(), moved, fmt.Sprint(b.sizes))
}
