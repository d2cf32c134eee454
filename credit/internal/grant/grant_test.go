package grant_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	creditv1 "example.com/fourfold/api/credit/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/chassis/tcc/tcclaws"
	"example.com/fourfold/credit/internal/account"
	"example.com/fourfold/credit/internal/grant"
	"example.com/fourfold/credit/internal/mysql"
	"example.com/fourfold/credit/migrations"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// branch is a Grant that is served, over a database of its own.
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
	g := grant.New(tcc.NewParticipant(t.Name(), db, keys), store)
	return branch{tcclaws.Serve(t, &creditv1.CreditGrant_ServiceDesc, g, request), db, store, keys}
}

// request returns the demo's ten points for an order.
func request(orderID string) *creditv1.CreditGrantRequest {
	return &creditv1.CreditGrantRequest{OrderId: orderID, MemberId: "demo", Points: 10}
}

// call calls one phase for the order as the coordinator would; the gid is made of the order's id.
func (b branch) call(ctx context.Context, op, orderID, memberID string, points int64) error {
	return b.calls.Deliver(ctx, b.keys, op, "gid-"+orderID, orderID,
		&creditv1.CreditGrantRequest{OrderId: orderID, MemberId: memberID, Points: points})
}

const (
	accounts = "SELECT member_id, credit, prepare_add_credit, prepare_deduct_credit FROM credit_account ORDER BY member_id"
	entries  = "SELECT source, member_id, points, status FROM credit_entry ORDER BY source"
)

func (b branch) books(t testing.TB) string { return mysqltest.Dump(t, b.db, accounts, entries) }

// TestLaws runs the laws of a participant with the numbers of the demo's first payment.
func TestLaws(t *testing.T) {
	t.Parallel()
	tcclaws.Run(t, func(t *testing.T) tcclaws.Branch {
		b := newBranch(t)
		_, added, err := b.store.Grant(t.Context(), account.Entry{Source: "seed:demo", MemberID: "demo", Points: 1190})
		require.NoError(t, err)
		require.True(t, added)
		return tcclaws.Branch{
			Name: t.Name(), Keys: b.keys, DB: b.db, Subject: "order-1", GID: "gid-1",
			Calls:     b.calls,
			Snapshot:  func(t testing.TB) string { return b.books(t) },
			Before:    "demo 1190 0 0\n--\nseed:demo demo 1190 ADDED\n--\n",
			Tried:     "demo 1190 10 0\n--\norder-1 demo 10 PREPARED\nseed:demo demo 1190 ADDED\n--\n",
			Confirmed: "demo 1200 0 0\n--\norder-1 demo 10 ADDED\nseed:demo demo 1190 ADDED\n--\n",
			Canceled:  "demo 1190 0 0\n--\norder-1 demo 10 CANCELED\nseed:demo demo 1190 ADDED\n--\n",
			Refuse: func(t testing.TB) string {
				_, err := b.store.SetFrozen(t.Context(), "demo", true)
				require.NoError(t, err)
				return "CREDIT_REFUSED"
			},
			Lock: "SELECT member_id FROM credit_account WHERE member_id = 'demo' FOR UPDATE",
		}
	})
}

func TestFirstEventMakesTheAccount(t *testing.T) {
	t.Parallel()
	for op, want := range map[string]string{
		"confirm": "new 10 0 0\n--\norder-1 new 10 ADDED\n--\n",
		"cancel":  "new 0 0 0\n--\norder-1 new 10 CANCELED\n--\n",
	} {
		b := newBranch(t)
		require.NoError(t, b.call(t.Context(), "try", "order-1", "new", 10))
		require.Equal(t, "new 0 10 0\n--\norder-1 new 10 PREPARED\n--\n", b.books(t))
		require.NoError(t, b.call(t.Context(), op, "order-1", "new", 10))
		require.Equal(t, want, b.books(t))
	}
}

// TestRacingFirstEvents tests that many payments of one member who has no account yet neither lose points nor wait in a circle.
func TestRacingFirstEvents(t *testing.T) {
	t.Parallel()
	b := newBranch(t)
	const orders = 24
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range orders {
		wg.Go(func() {
			<-start
			id := fmt.Sprintf("order-%d", i)
			assert.NoError(t, b.call(t.Context(), "try", id, "new", 10))
			assert.NoError(t, b.call(t.Context(), []string{"confirm", "cancel"}[i%2], id, "new", 10))
		})
	}
	close(start)
	wg.Wait()
	assert.Equal(t, "new 120 0 0\n--\n", mysqltest.Dump(t, b.db, accounts))
}

// TestZeroPoints tests that an order under one unit of currency has its entry too.
func TestZeroPoints(t *testing.T) {
	t.Parallel()
	b := newBranch(t)
	require.NoError(t, b.call(t.Context(), "try", "order-1", "m", 0))
	require.Equal(t, "m 0 0 0\n--\norder-1 m 0 PREPARED\n--\n", b.books(t))
	require.NoError(t, b.call(t.Context(), "confirm", "order-1", "m", 0))
	require.Equal(t, "m 0 0 0\n--\norder-1 m 0 ADDED\n--\n", b.books(t))
}

func TestTryRejectsBadInput(t *testing.T) {
	t.Parallel()
	b := newBranch(t)
	for _, bad := range []struct {
		member string
		points int64
	}{{"", 10}, {"m", -1}, {"m", account.MaxPoints + 1}, {"m m", 10}} {
		err := b.call(t.Context(), "try", "order-1", bad.member, bad.points)
		assert.True(t, creditv1.IsCreditInvalid(err), "%+v: %v", bad, err)
		assert.False(t, tcc.Refused(err), "bad input is no refusal")
	}
	assert.Equal(t, "--\n--\n", b.books(t))
}

// TestFreezeBehindTry tests that Confirm and Cancel never refuse after a freeze, and that the books of a frozen account are kept.
func TestFreezeBehindTry(t *testing.T) {
	t.Parallel()
	for op, want := range map[string]string{
		"confirm": "m 10 0 0\n--\norder-1 m 10 ADDED\n--\n",
		"cancel":  "m 0 0 0\n--\norder-1 m 10 CANCELED\n--\n",
	} {
		b := newBranch(t)
		require.NoError(t, b.call(t.Context(), "try", "order-1", "m", 10))
		_, err := b.store.SetFrozen(t.Context(), "m", true)
		require.NoError(t, err)
		require.NoError(t, b.call(t.Context(), "try", "order-1", "m", 10), "a repeated Try is not a new one")
		require.True(t, creditv1.IsCreditRefused(b.call(t.Context(), "try", "order-2", "m", 10)))
		require.NoError(t, b.call(t.Context(), op, "order-1", "m", 10))
		require.Equal(t, want, b.books(t))

		_, err = b.store.SetFrozen(t.Context(), "m", false)
		require.NoError(t, err)
		require.NoError(t, b.call(t.Context(), "try", "order-2", "m", 10), "the refused Try, delivered again")
	}
}

// TestTheRowCounts tests that what Try wrote is booked, whatever the requests of Confirm and Cancel say.
func TestTheRowCounts(t *testing.T) {
	t.Parallel()
	b := newBranch(t)
	for _, order := range []string{"order-1", "order-2"} {
		require.NoError(t, b.call(t.Context(), "try", order, "m", 10))
	}
	require.NoError(t, b.call(t.Context(), "try", "order-3", "thief", 5))
	require.NoError(t, b.call(t.Context(), "confirm", "order-1", "thief", 7))
	require.NoError(t, b.call(t.Context(), "cancel", "order-2", "thief", 3))
	assert.Equal(t, "m 10 0 0\nthief 0 5 0\n--\norder-1 m 10 ADDED\norder-2 m 10 CANCELED\norder-3 thief 5 PREPARED\n--\n", b.books(t))
	assert.Equal(t, 500, kerrors.Code(b.call(t.Context(), "cancel", "order-1", "m", 10)), "added points are not canceled")
}
