package checkout_test

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/order/internal/checkout"
	"example.com/fourfold/order/internal/mysql"
)

// TestSettle: what the coordinator says and what each service has decide which decisions are possible. One that is not changes nothing; one that
// is ends the same way in all, and the second time finds nothing open.
func TestSettle(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	const refused = ""
	for n, tt := range []struct {
		says     tcc.Status
		states   string
		decision checkout.Decision
		ends     string
	}{
		{tcc.Unknown, "TTT", checkout.Confirm, "PAID CCC"},
		{tcc.Unknown, "TTT", checkout.Cancel, "CANCELED XXX"},
		{tcc.Unknown, "T-T", checkout.Cancel, "CANCELED X-X"},
		{tcc.Unknown, "---", checkout.Cancel, "CANCELED ---"},
		{tcc.Unknown, "TCC", checkout.Confirm, "PAID CCC"},
		{tcc.Unknown, "TTX", checkout.Cancel, "CANCELED XXX"},
		{tcc.Unknown, "TTC", checkout.Cancel, refused},
		{tcc.Unknown, "TTX", checkout.Confirm, refused},
		{tcc.Unknown, "XTC", checkout.Confirm, refused},
		{tcc.Unknown, "XTC", checkout.Cancel, refused},
		{tcc.Unknown, "T-T", checkout.Confirm, refused},
		{tcc.Unknown, "T-T", checkout.Try, "UPDATING TTT"},
		{tcc.Unknown, "T-X", checkout.Try, refused},
		{tcc.Unknown, "TTT", checkout.Try, refused},
		{tcc.Succeeded, "TTT", checkout.Confirm, "PAID CCC"},
		{tcc.Succeeded, "TTT", checkout.Cancel, refused},
		{tcc.Failed, "TTT", checkout.Cancel, "CANCELED XXX"},
		{tcc.Failed, "TTT", checkout.Confirm, refused},
		{tcc.Failed, "T-T", checkout.Try, refused},
		{tcc.Prepared, "TTT", checkout.Confirm, refused},
		{tcc.Prepared, "T-T", checkout.Try, refused},
		{tcc.Submitted, "TTT", checkout.Confirm, refused},
		{tcc.Submitted, "T-C", checkout.Try, "UPDATING TTC"},
		{tcc.Aborting, "TTT", checkout.Cancel, refused},
	} {
		what := fmt.Sprintf("%s, %s, %s", tt.says, tt.states, tt.decision)
		id := fmt.Sprintf("o%d", n)
		s.hold(t, id, tt.says, tt.states)
		standing, err := s.Settle(t.Context(), id, tt.decision)
		if tt.ends == refused {
			require.ErrorAs(t, err, &checkout.Refused{}, what)
			assert.NotEmpty(t, err.Error(), what)
			assert.Equal(t, "UPDATING "+tt.states, s.reads(t, id), what)
			continue
		}
		require.NoError(t, err, what)
		for _, b := range standing.Branches {
			require.NoError(t, b.Err, "%s: %s", what, b.Service)
		}
		assert.Equal(t, tt.ends, s.reads(t, id), what)
		if tt.decision == checkout.Try {
			continue
		}
		_, err = s.Settle(t.Context(), id, tt.decision)
		require.ErrorIs(t, err, checkout.ErrNothingOpen, what)
	}

	// Too young, not held, or nothing open.
	gid := s.hold(t, "young", tcc.Unknown, "TTT")
	_, err := s.db.ExecContext(t.Context(), "UPDATE payment_attempt SET created_at = NOW(3) WHERE gid = ?", gid)
	require.NoError(t, err)
	_, err = s.Settle(t.Context(), "young", checkout.Cancel)
	require.ErrorContains(t, err, "wait")
	_, err = s.db.ExecContext(t.Context(), "UPDATE payment_attempt SET created_at = NOW(3) - INTERVAL 20 SECOND WHERE gid = ?", gid)
	require.NoError(t, err)
	_, err = s.db.ExecContext(t.Context(), "UPDATE orders SET gid = 'another' WHERE id = 'young'")
	require.NoError(t, err)
	_, err = s.Settle(t.Context(), "young", checkout.Cancel)
	require.ErrorContains(t, err, "not held")
	assert.Equal(t, "UPDATING TTT", s.reads(t, "young"))
	_, err = s.Settle(t.Context(), "nobody's", checkout.Cancel)
	require.ErrorIs(t, err, checkout.ErrNothingOpen)
}

// TestSettleHalfWay: when a service fails, those after it are not called, the other decision is refused, and the second call ends what the first
// began.
func TestSettleHalfWay(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.hold(t, "o", tcc.Unknown, "TTT")
	s.peers["credit"].away.Store(true)
	standing, err := s.Settle(t.Context(), "o", checkout.Cancel)
	require.NoError(t, err)
	states := map[string]tcc.State{}
	for _, b := range standing.Branches {
		states[b.Service] = b.State
		assert.Equal(t, b.Service == "credit", b.Err != nil, "%s: %v", b.Service, b.Err)
	}
	assert.Equal(t, map[string]tcc.State{"order": tcc.Tried, "inventory": tcc.Tried, "credit": tcc.Tried, "wms": tcc.Canceled}, states)
	assert.Equal(t, "UPDATING TTX", s.reads(t, "o"))
	_, err = s.Settle(t.Context(), "o", checkout.Confirm)
	require.ErrorContains(t, err, "wms is canceled")
	s.peers["credit"].away.Store(false)
	_, err = s.Settle(t.Context(), "o", checkout.Cancel)
	require.NoError(t, err)
	assert.Equal(t, "CANCELED XXX", s.reads(t, "o"))

	// A row that the barrier counts as tried and that is gone: reported, and nothing is changed in that service and those after it.
	gid := s.hold(t, "lost", tcc.Unknown, "TTT")
	_, err = s.peers["credit"].db.ExecContext(t.Context(), "DELETE FROM held WHERE gid = ?", gid)
	require.NoError(t, err)
	standing, err = s.Settle(t.Context(), "lost", checkout.Confirm)
	require.NoError(t, err)
	assert.Equal(t, "BRANCH_NOT_TRIED", kerrors.Reason(standing.Branches[2].Err), "%v", standing.Branches[2].Err)
	assert.Equal(t, "UPDATING T-C", s.reads(t, "lost"))
}

// TestTwoOperators: two who decide differently at the same time end the same way in all services.
func TestTwoOperators(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	ended := map[string]int{}
	for n := range 20 {
		id := fmt.Sprintf("o%d", n)
		s.hold(t, id, tcc.Unknown, "TTT")
		var wg sync.WaitGroup
		start := make(chan struct{})
		for _, d := range []checkout.Decision{checkout.Confirm, checkout.Cancel} {
			wg.Go(func() {
				<-start
				_, _ = s.Settle(context.WithoutCancel(t.Context()), id, d) // the rows tell
			})
		}
		close(start)
		wg.Wait()
		ended[s.reads(t, id)]++
	}
	delete(ended, "PAID CCC")
	delete(ended, "CANCELED XXX")
	assert.Empty(t, ended)
}

// TestRefusal: of every combination of what the coordinator says and how far each branch has come, none may be ended in two ways, and each that
// has not ended in two ways already can be ended.
func TestRefusal(t *testing.T) {
	t.Parallel()
	states := []tcc.State{tcc.None, tcc.Tried, tcc.Confirmed, tcc.Canceled}
	checked := 0
	for _, status := range []tcc.Status{tcc.Unknown, tcc.Prepared, tcc.Submitted, tcc.Aborting, tcc.Succeeded, tcc.Failed} {
		for n := range 64 {
			branches := []checkout.BranchStanding{{Service: "order", State: tcc.Tried}}
			has := map[tcc.State]bool{}
			for i, name := range []string{"inventory", "credit", "wms"} {
				state := states[n>>(2*i)&3]
				branches = append(branches, checkout.BranchStanding{Service: name, State: state})
				has[state] = true
			}
			s := checkout.Standing{OpenAttempt: mysql.OpenAttempt{Held: true, Age: time.Minute},
				Coordinator: status, Branches: branches}
			what := fmt.Sprintf("%s, %v", status, branches)
			may := map[checkout.Decision]bool{}
			for _, d := range checkout.Decisions() {
				may[d] = s.Refusal(d) == ""
			}
			if may[checkout.Confirm] {
				assert.False(t, has[tcc.None] || has[tcc.Canceled] || status == tcc.Failed, what)
			}
			if may[checkout.Cancel] {
				assert.False(t, has[tcc.Confirmed] || status == tcc.Succeeded, what)
			}
			if may[checkout.Try] {
				assert.True(t, has[tcc.None] && !has[tcc.Canceled], what)
			}
			if status == tcc.Prepared || status == tcc.Aborting || status == tcc.Submitted {
				assert.False(t, may[checkout.Confirm] || may[checkout.Cancel], what)
			} else if status == tcc.Unknown && !(has[tcc.Confirmed] && has[tcc.Canceled]) {
				assert.True(t, may[checkout.Confirm] || may[checkout.Cancel] || may[checkout.Try], "it can be ended: "+what)
			}
			for _, wrong := range []func(*checkout.Standing){
				func(s *checkout.Standing) { s.Held = false }, func(s *checkout.Standing) { s.Age = 14 * time.Second },
			} {
				not := s
				wrong(&not)
				for d := range maps.Keys(may) {
					assert.NotEmpty(t, not.Refusal(d), what)
				}
			}
			checked++
		}
	}
	assert.Equal(t, 6*64, checked)
}
