package deduction_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	creditv1 "example.com/fourfold/api/credit/v1"
	"example.com/fourfold/credit/internal/account"
)

// refund is the model of one refund: what its calls so far have led to.
type refund string

const (
	unheard   refund = ""
	shut      refund = "shut" // a Cancel came before its Try
	held      refund = "held"
	confirmed refund = "confirmed"
	canceled  refund = "canceled"
)

// TestBooksHold makes the calls of three refunds each of two members' orders in every state, in any order, with freezes between them. After each
// call, accounts and entries are what the model says: credit + prepare_deduct_credit = the points ADDED or DEDUCTING.
func TestBooksHold(t *testing.T) {
	t.Parallel()
	b := newBranch(t)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		type order struct {
			id, member string
			points     int64
			status     account.Status
			refunds    [3]refund
		}
		members := []string{fmt.Sprintf("a-%d", run), fmt.Sprintf("b-%d", run)}
		frozen := map[string]bool{}
		orders := make([]*order, 4)
		for i := range orders {
			o := &order{
				id: fmt.Sprintf("order-%d-%d", run, i), member: members[i%2], points: rapid.Int64Range(0, 50).Draw(rt, "points"),
				status: rapid.SampledFrom([]account.Status{account.Added, account.Added, account.Prepared, account.Canceled}).Draw(rt, "status"),
			}
			b.pay(rt, o.id, o.member, o.points, o.status)
			orders[i] = o
		}
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			o := rapid.SampledFrom(orders).Draw(rt, "order")
			n := rapid.IntRange(0, 2).Draw(rt, "refund")
			op := rapid.SampledFrom([]string{"try", "try", "confirm", "cancel", "freeze"}).Draw(rt, "op")
			var err error
			if op == "freeze" {
				frozen[o.member] = !frozen[o.member]
				_, err = b.store.SetFrozen(t.Context(), o.member, frozen[o.member])
			} else {
				err = b.call(op, o.id, fmt.Sprintf("refund-%s-%d", o.id, n))
			}
			r := &o.refunds[n]
			switch op {
			case "freeze":
				require.NoError(rt, err)
			case "try":
				switch {
				case *r != unheard:
					require.NoError(rt, err)
				case o.status != account.Added || frozen[o.member]:
					require.True(rt, creditv1.IsCreditRefused(err), "%v", err)
				default:
					require.NoError(rt, err)
					*r, o.status = held, account.Deducting
				}
			case "confirm":
				require.Equal(rt, *r == held || *r == confirmed, err == nil, "confirm of %q: %v", *r, err)
				if *r == held {
					*r, o.status = confirmed, account.Deducted
				}
			case "cancel":
				require.Equal(rt, *r != confirmed, err == nil, "cancel of %q: %v", *r, err)
				switch *r {
				case held:
					*r, o.status = canceled, account.Added
				case unheard:
					*r = shut
				}
			}

			for _, member := range members {
				want := account.Account{MemberID: member, Frozen: frozen[member]}
				for _, o := range orders {
					if o.member != member {
						continue
					}
					switch o.status {
					case account.Prepared:
						want.PrepareAdd += o.points
					case account.Added:
						want.Credit += o.points
					case account.Deducting:
						want.PrepareDeduct += o.points
					}
					var status string
					require.NoError(rt, b.db.QueryRow("SELECT status FROM credit_entry WHERE source = ?", o.id).Scan(&status))
					require.Equal(rt, string(o.status), status)
				}
				got, err := b.store.Account(t.Context(), member)
				require.NoError(rt, err)
				require.Equal(rt, want, got)
			}
		}
	})
}
