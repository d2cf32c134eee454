package grant_test

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	creditv1 "example.com/fourfold/api/credit/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/chassis/tcc/tcclaws"
	"example.com/fourfold/credit/internal/account"
)

// fill makes an account that holds points, as entries of at most MaxPoints.
func (b branch) fill(t require.TestingT, member string, points int64) {
	for i := 0; points > 0; i++ {
		part := min(points, account.MaxPoints)
		_, added, err := b.store.Grant(context.Background(),
			account.Entry{Source: fmt.Sprintf("seed:%s-%d", member, i), MemberID: member, Points: part})
		require.NoError(t, err)
		require.True(t, added)
		points -= part
	}
}

// TestFullAccount: an account takes points up to MaxBalance and not one more, whichever of its columns they are in.
func TestFullAccount(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(t *testing.T, b branch){
		"spendable": func(t *testing.T, b branch) { b.fill(t, "m", account.MaxBalance-10) },
		"promised": func(t *testing.T, b branch) {
			b.fill(t, "m", account.MaxBalance-account.MaxPoints-10)
			require.NoError(t, b.call(t.Context(), "try", "order-0", "m", account.MaxPoints))
		},
		"being taken back": func(t *testing.T, b branch) {
			b.fill(t, "m", account.MaxBalance-10)
			require.NoError(t, database.InTx(t.Context(), b.db, func(tx *sql.Tx) error {
				return b.store.PrepareDeduct(t.Context(), tx, "refund", "seed:m-0")
			}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBranch(t)
			prepare(t, b)
			full := b.books(t)
			err := b.call(t.Context(), "try", "order-1", "m", 11)
			require.True(t, creditv1.IsCreditRefused(err), "%v", err)
			require.True(t, tcc.Refused(err), "the others are canceled")
			_, _, err = b.store.Grant(t.Context(), account.Entry{Source: "seed:more", MemberID: "m", Points: 11})
			require.ErrorIs(t, err, account.ErrFull)
			assert.Equal(t, full, b.books(t), "nothing of it is written")

			require.NoError(t, b.call(t.Context(), "try", "order-2", "m", 10))
			require.NoError(t, b.call(t.Context(), "confirm", "order-2", "m", 10))
			require.NoError(t, b.call(t.Context(), "try", "order-3", "m", 0), "no points always fit")
			again, added, err := b.store.Grant(t.Context(), account.Entry{Source: "order-2", MemberID: "m", Points: 99})
			require.NoError(t, err, "what is booked is no more points")
			assert.False(t, added)
			assert.EqualValues(t, 10, again.Points)
		})
	}
}

// TestFullTogether: payments of one member that come together, and share a transaction, fill the account up to MaxBalance and no further.
func TestFullTogether(t *testing.T) {
	t.Parallel()
	b := newBranch(t)
	b.fill(t, "m", account.MaxBalance-10)
	lock, err := b.db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { _ = lock.Rollback() }()
	_, err = lock.ExecContext(t.Context(), "UPDATE credit_account SET frozen = frozen")
	require.NoError(t, err)
	var accepted atomic.Int32
	var calls sync.WaitGroup
	for i := range 12 { // the first waits for the lock, and meanwhile the others come
		calls.Go(func() {
			err := b.call(t.Context(), "try", fmt.Sprintf("order-%d", i), "m", 3)
			if err == nil {
				accepted.Add(1)
			} else {
				assert.True(t, creditv1.IsCreditRefused(err), "%v", err)
			}
		})
	}
	tcclaws.AwaitLockWaits(t, b.db, 2)
	require.NoError(t, lock.Rollback())
	calls.Wait()
	assert.EqualValues(t, 3, accepted.Load())
}

// TestOverfullAccount: an account that was filled beyond the bound before there was one takes nothing more. What it could overflow with is
// refused by Try, not met by Confirm.
func TestOverfullAccount(t *testing.T) {
	t.Parallel()
	b := newBranch(t)
	b.fill(t, "m", 1)
	_, err := b.db.ExecContext(t.Context(), "UPDATE credit_account SET credit = ?", int64(math.MaxInt64-5))
	require.NoError(t, err)
	err = b.call(t.Context(), "try", "order-1", "m", 10)
	if err == nil {
		require.NoError(t, b.call(t.Context(), "confirm", "order-1", "m", 10), "what Try accepted, Confirm does")
	}
	require.True(t, creditv1.IsCreditRefused(err), "%v", err)
}

// TestAcceptedIsDone makes the calls of payments and refunds, and gifts, in any order around the bound. Points are accepted exactly when they
// fit, and what a Try accepted can always be confirmed and canceled.
func TestAcceptedIsDone(t *testing.T) {
	t.Parallel()
	b := newBranch(t)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		member := fmt.Sprintf("m-%d", run)
		held := account.MaxBalance - rapid.Int64Range(0, 100).Draw(rt, "room")
		b.fill(rt, member, held)
		points, status, ids := map[string]int64{}, map[string]account.Status{}, []string{}
		for i := range rapid.IntRange(1, 25).Draw(rt, "steps") {
			op := rapid.SampledFrom([]string{"try", "try", "gift", "confirm", "cancel", "take", "drop", "return"}).Draw(rt, "op")
			if op == "try" || op == "gift" {
				id := fmt.Sprintf("%s-%d", member, i)
				n := rapid.OneOf(rapid.Int64Range(0, 60), rapid.Int64Range(0, account.MaxPoints)).Draw(rt, "points")
				fits := n <= account.MaxBalance-held
				var err error
				if op == "try" {
					err = b.call(t.Context(), "try", id, member, n)
					require.Equal(rt, !fits, creditv1.IsCreditRefused(err), "try of %d onto %d: %v", n, held, err)
				} else {
					_, _, err = b.store.Grant(t.Context(), account.Entry{Source: id, MemberID: member, Points: n})
				}
				require.Equal(rt, fits, err == nil, "%s of %d onto %d: %v", op, n, held, err)
				if !fits {
					continue
				}
				held += n
				points[id], ids = n, append(ids, id)
				status[id] = map[string]account.Status{"try": account.Prepared, "gift": account.Added}[op]
				continue
			}
			if len(ids) == 0 {
				continue
			}
			id := rapid.SampledFrom(ids).Draw(rt, "entry")
			refund := func(do func(context.Context, *sql.Tx, string, string) error) func() error {
				return func() error {
					return database.InTx(t.Context(), b.db, func(tx *sql.Tx) error { return do(t.Context(), tx, "refund-"+id, id) })
				}
			}
			step := map[string]struct {
				from, to account.Status
				do       func() error
			}{
				"confirm": {account.Prepared, account.Added, func() error { return b.call(t.Context(), "confirm", id, member, 0) }},
				"cancel":  {account.Prepared, account.Canceled, func() error { return b.call(t.Context(), "cancel", id, member, 0) }},
				"take":    {account.Added, account.Deducting, refund(b.store.PrepareDeduct)},
				"drop":    {account.Deducting, account.Deducted, refund(b.store.ConfirmDeduct)},
				"return":  {account.Deducting, account.Added, refund(b.store.CancelDeduct)},
			}[op]
			if status[id] != step.from {
				continue
			}
			require.NoError(rt, step.do(), "%s of %d", op, points[id])
			status[id] = step.to
			if step.to == account.Canceled || step.to == account.Deducted {
				held -= points[id]
			}
		}
		a, err := b.store.Account(t.Context(), member)
		require.NoError(rt, err)
		require.Equal(rt, held, a.Credit+a.PrepareAdd+a.PrepareDeduct)
		requireBalance(rt, b)
	})
}
