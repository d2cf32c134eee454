package deduction_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	creditv1 "example.com/fourfold/api/credit/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/batch"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/chassis/tcc/tcclaws"
	"example.com/fourfold/credit/internal/account"
	"example.com/fourfold/credit/internal/deduction"
	"example.com/fourfold/credit/internal/mysql"
	"example.com/fourfold/credit/migrations"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// branch is a Deduction that is served, over a database of its own.
type branch struct {
	calls *tcclaws.Calls
	db    *sql.DB
	store *mysql.Store
	keys  mac.Keys
}

func newBranch(t *testing.T) branch {
	t.Helper()
	db := mysqltest.Open(t, migrations.FS)
	keys, err := mac.Parse("k1:00112233445566778899aabbccddeeff")
	require.NoError(t, err)
	store := mysql.NewStore(db)
	d := deduction.New(tcc.NewParticipant(t.Name(), db, keys), store)
	return branch{tcclaws.Serve(t, &creditv1.CreditDeduction_ServiceDesc, d, request), db, store, keys}
}

// pay takes the order's payment as far as status: PREPARED, ADDED or CANCELED.
func (b branch) pay(t require.TestingT, orderID, memberID string, points int64, status account.Status) {
	ctx := context.Background()
	require.NoError(t, database.InTx(ctx, b.db, func(tx *sql.Tx) error {
		e := account.Entry{Source: orderID, MemberID: memberID, Points: points}
		if err := batch.Apply(ctx, tx, b.store.PrepareAdd(), mysql.Granting{GID: "pay-" + orderID, Request: e}); err != nil {
			return err
		}
		switch status {
		case account.Added:
			return batch.Apply(ctx, tx, b.store.ConfirmAdd(), mysql.Granting{Subject: orderID, GID: "pay-" + orderID})
		case account.Canceled:
			return batch.Apply(ctx, tx, b.store.CancelAdd(), mysql.Granting{Subject: orderID, GID: "pay-" + orderID})
		}
		return nil
	}))
}

// request returns the refund of the demo's ten points.
func request(orderID string) *creditv1.CreditDeductionRequest {
	return &creditv1.CreditDeductionRequest{OrderId: orderID, MemberId: "demo", Points: 10}
}

// call calls one phase of the refund gid as the coordinator would.
func (b branch) call(op, orderID, gid string) error {
	return b.callWith(op, gid, request(orderID))
}

func (b branch) callWith(op, gid string, req *creditv1.CreditDeductionRequest) error {
	return b.calls.Deliver(context.Background(), b.keys, op, gid, req.GetOrderId(), req)
}

func (b branch) books(t testing.TB) string {
	return mysqltest.Dump(t, b.db,
		"SELECT member_id, credit, prepare_add_credit, prepare_deduct_credit FROM credit_account ORDER BY member_id",
		"SELECT source, member_id, points, status FROM credit_entry ORDER BY source")
}

// TestLaws runs the laws of a participant with the refund of the demo's first payment.
func TestLaws(t *testing.T) {
	t.Parallel()
	tcclaws.Run(t, func(t *testing.T) tcclaws.Branch {
		b := newBranch(t)
		_, _, err := b.store.Grant(t.Context(), account.Entry{Source: "seed:demo", MemberID: "demo", Points: 1190})
		require.NoError(t, err)
		b.pay(t, "order-1", "demo", 10, account.Added)
		return tcclaws.Branch{
			Name: t.Name(), Keys: b.keys, DB: b.db, Subject: "order-1", GID: "refund-1",
			Calls:     b.calls,
			Snapshot:  func(t testing.TB) string { return b.books(t) },
			Before:    "demo 1200 0 0\n--\norder-1 demo 10 ADDED\nseed:demo demo 1190 ADDED\n--\n",
			Tried:     "demo 1190 0 10\n--\norder-1 demo 10 DEDUCTING\nseed:demo demo 1190 ADDED\n--\n",
			Confirmed: "demo 1190 0 0\n--\norder-1 demo 10 DEDUCTED\nseed:demo demo 1190 ADDED\n--\n",
			Canceled:  "demo 1200 0 0\n--\norder-1 demo 10 ADDED\nseed:demo demo 1190 ADDED\n--\n",
			Refuse: func(t testing.TB) string {
				_, err := b.store.SetFrozen(t.Context(), "demo", true)
				require.NoError(t, err)
				return "CREDIT_REFUSED"
			},
			Lock: "SELECT member_id FROM credit_account WHERE member_id = 'demo' FOR UPDATE",
		}
	})
}

// TestRefusals tests points that are frozen, spent, not added, and held or taken by another refund. Nothing is taken then.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(t *testing.T, b branch){
		"frozen": func(t *testing.T, b branch) {
			b.pay(t, "order-1", "demo", 10, account.Added)
			_, err := b.store.SetFrozen(t.Context(), "demo", true)
			require.NoError(t, err)
		},
		"spent": func(t *testing.T, b branch) {
			b.pay(t, "order-1", "demo", 10, account.Added)
			b.pay(t, "order-2", "demo", 5, account.Prepared) // prepared points cannot be spent
			_, err := b.db.ExecContext(t.Context(), "UPDATE credit_account SET credit = 9 WHERE member_id = 'demo'")
			require.NoError(t, err)
		},
		"payment open":     func(t *testing.T, b branch) { b.pay(t, "order-1", "demo", 10, account.Prepared) },
		"payment canceled": func(t *testing.T, b branch) { b.pay(t, "order-1", "demo", 10, account.Canceled) },
		"no payment":       func(t *testing.T, b branch) { b.pay(t, "order-2", "demo", 10, account.Added) },
		"held by another refund": func(t *testing.T, b branch) {
			b.pay(t, "order-1", "demo", 10, account.Added)
			require.NoError(t, b.call("try", "order-1", "refund-0"))
		},
		"taken by another refund": func(t *testing.T, b branch) {
			b.pay(t, "order-1", "demo", 10, account.Added)
			require.NoError(t, b.call("try", "order-1", "refund-0"))
			require.NoError(t, b.call("confirm", "order-1", "refund-0"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBranch(t)
			_, _, err := b.store.Grant(t.Context(), account.Entry{Source: "seed:demo", MemberID: "demo", Points: 100})
			require.NoError(t, err)
			set(t, b)
			before := b.books(t)
			err = b.call("try", "order-1", "refund-1")
			require.True(t, creditv1.IsCreditRefused(err), "%v", err)
			require.True(t, tcc.Refused(err), "%v", err)
			require.NoError(t, b.call("cancel", "order-1", "refund-1"))
			require.Equal(t, before, b.books(t))
		})
	}
}

// TestFreezeBehindTry tests that Confirm and Cancel never refuse, even after a freeze.
func TestFreezeBehindTry(t *testing.T) {
	t.Parallel()
	for op, want := range map[string]string{
		"confirm": "demo 0 0 0\n--\norder-1 demo 10 DEDUCTED\n--\n",
		"cancel":  "demo 10 0 0\n--\norder-1 demo 10 ADDED\n--\n",
	} {
		b := newBranch(t)
		b.pay(t, "order-1", "demo", 10, account.Added)
		require.NoError(t, b.call("try", "order-1", "refund-1"))
		_, err := b.store.SetFrozen(t.Context(), "demo", true)
		require.NoError(t, err)
		require.NoError(t, b.call(op, "order-1", "refund-1"))
		require.Equal(t, want, b.books(t))
	}
}

// TestTheEntryCounts tests that member and points of the request make no difference in any phase.
func TestTheEntryCounts(t *testing.T) {
	t.Parallel()
	b := newBranch(t)
	b.pay(t, "order-0", "other", 100, account.Added)
	wrong := func(order string) *creditv1.CreditDeductionRequest {
		return &creditv1.CreditDeductionRequest{OrderId: order, MemberId: "other", Points: 77}
	}
	for _, order := range []string{"order-1", "order-2"} {
		b.pay(t, order, "demo", 10, account.Added)
		require.NoError(t, b.callWith("try", "refund-"+order, wrong(order)))
	}
	require.Equal(t, "demo 0 0 20\nother 100 0 0\n--\n"+
		"order-0 other 100 ADDED\norder-1 demo 10 DEDUCTING\norder-2 demo 10 DEDUCTING\n--\n", b.books(t))
	require.NoError(t, b.callWith("confirm", "refund-order-1", wrong("order-1")))
	require.NoError(t, b.callWith("cancel", "refund-order-2", wrong("order-2")))
	require.Equal(t, "demo 10 0 0\nother 100 0 0\n--\n"+
		"order-0 other 100 ADDED\norder-1 demo 10 DEDUCTED\norder-2 demo 10 ADDED\n--\n", b.books(t))
}

// TestZeroPoints tests that an order that brought no points can be refunded too, also for a member who has none.
func TestZeroPoints(t *testing.T) {
	t.Parallel()
	b := newBranch(t)
	b.pay(t, "order-1", "demo", 0, account.Added)
	require.NoError(t, b.call("try", "order-1", "refund-1"))
	require.NoError(t, b.call("confirm", "order-1", "refund-1"))
	require.Equal(t, "demo 0 0 0\n--\norder-1 demo 0 DEDUCTED\n--\n", b.books(t))
}

func TestTryRejectsBadInput(t *testing.T) {
	t.Parallel()
	b := newBranch(t)
	err := b.call("try", "ordér-1", "refund-1")
	assert.True(t, creditv1.IsCreditInvalid(err), "%v", err)
	assert.False(t, tcc.Refused(err), "bad input is no refusal")
}

// TestRacingRefunds tests that many concurrent refunds of one member neither lose points nor wait in a circle, and that no more refunds succeed
// than there are points for.
func TestRacingRefunds(t *testing.T) {
	t.Parallel()
	b := newBranch(t)
	const orders = 24
	for i := range orders {
		b.pay(t, fmt.Sprintf("order-%d", i), "demo", 10, account.Added)
	}
	_, err := b.db.ExecContext(t.Context(), "UPDATE credit_account SET credit = 105 WHERE member_id = 'demo'") // 135 are spent
	require.NoError(t, err)
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range orders {
		wg.Go(func() {
			<-start
			id := fmt.Sprintf("order-%d", i)
			if err := b.call("try", id, "refund-"+id); err != nil {
				assert.True(t, creditv1.IsCreditRefused(err), "%v", err)
				return
			}
			assert.NoError(t, b.call("confirm", id, "refund-"+id))
		})
	}
	close(start)
	wg.Wait()
	assert.Equal(t, "5 0 0\n--\nADDED 14\nDEDUCTED 10\n--\n", mysqltest.Dump(t, b.db,
		"SELECT credit, prepare_add_credit, prepare_deduct_credit FROM credit_account",
		"SELECT status, COUNT(*) FROM credit_entry GROUP BY status ORDER BY status"))
}
