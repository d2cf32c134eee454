package grant_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	creditv1 "example.com/fourfold/api/credit/v1"
	"example.com/fourfold/credit/internal/account"
)

// TestBooksHold makes the calls of several orders of two members in any order, with freezes between them. After each call, every account is the
// sum of its entries, and that is what the member was promised and given.
func TestBooksHold(t *testing.T) {
	t.Parallel()
	b := newBranch(t)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		// m is the model of one order.
		type m struct {
			id, member string
			points     int64
			status     account.Status
			closed     bool // a Cancel came before its Try
		}
		members := []string{fmt.Sprintf("a-%d", run), fmt.Sprintf("b-%d", run)}
		frozen := map[string]bool{}
		orders := make([]*m, 4)
		for i := range orders {
			orders[i] = &m{
				id: fmt.Sprintf("order-%d-%d", run, i), member: members[i%2],
				points: rapid.Int64Range(0, 50).Draw(rt, "points"),
			}
		}
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			o := rapid.SampledFrom(orders).Draw(rt, "order")
			switch op := rapid.SampledFrom([]string{"try", "try", "confirm", "cancel", "freeze"}).Draw(rt, "op"); op {
			case "freeze":
				frozen[o.member] = !frozen[o.member]
				_, err := b.store.SetFrozen(t.Context(), o.member, frozen[o.member])
				require.NoError(rt, err)
			case "try":
				err := b.call(t.Context(), op, o.id, o.member, o.points)
				if o.status == account.None && !o.closed && frozen[o.member] {
					require.True(rt, creditv1.IsCreditRefused(err), "%v", err)
					break
				}
				require.NoError(rt, err)
				if o.status == account.None && !o.closed {
					o.status = account.Prepared
				}
			case "confirm":
				err := b.call(t.Context(), op, o.id, o.member, o.points)
				if o.status == account.Prepared {
					o.status = account.Added
				}
				require.Equal(rt, o.status == account.Added, err == nil, "confirm of %q: %v", o.status, err)
			case "cancel":
				err := b.call(t.Context(), op, o.id, o.member, o.points)
				switch o.status {
				case account.None:
					o.closed = true
				case account.Prepared:
					o.status = account.Canceled
				}
				require.Equal(rt, o.status != account.Added, err == nil, "cancel of %q: %v", o.status, err)
			}
			for _, member := range members {
				want := account.Account{MemberID: member, Frozen: frozen[member]}
				for _, o := range orders {
					switch {
					case o.member != member:
					case o.status == account.Added:
						want.Credit += o.points
					case o.status == account.Prepared:
						want.PrepareAdd += o.points
					}
				}
				got, err := b.store.Account(t.Context(), member)
				require.NoError(rt, err)
				require.Equal(rt, want, got)
			}
			requireBalance(rt, b)
		}
	})
}

// requireBalance compares every account with its entries, in the database alone.
func requireBalance(t require.TestingT, b branch) {
	var wrong int
	require.NoError(t, b.db.QueryRow(`
		SELECT COUNT(*) FROM credit_account a
		WHERE a.credit + a.prepare_deduct_credit <>
		      (SELECT COALESCE(SUM(points), 0) FROM credit_entry e WHERE e.member_id = a.member_id AND status IN ('ADDED', 'DEDUCTING'))
		   OR a.prepare_add_credit <>
		      (SELECT COALESCE(SUM(points), 0) FROM credit_entry e WHERE e.member_id = a.member_id AND status = 'PREPARED')`).Scan(&wrong))
	require.Zero(t, wrong, "accounts that are not the sum of their entries")
}
