package reconcile_test

import (
	"context"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/ledger"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/order/internal/reconcile"
	"example.com/fourfold/order/internal/rpc"
)

// TestSilence tests that there is no report when a service, its database or order's own cannot be read, whichever read fails.
func TestSilence(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"inventory", "credit", "wms"} {
		t.Run(name+" is down", func(t *testing.T) {
			t.Parallel()
			s := openShop(t)
			s.fill(t, 40)
			ask := rpc.NewConservation(s.comparator())
			reply, err := ask.CheckConservation(t.Context(), &orderv1.CheckConservationRequest{})
			require.NoError(t, err)
			require.True(t, reply.GetOk())
			require.Len(t, reply.GetChecks(), 23)

			s.peers[name].kill()
			reply, err = ask.CheckConservation(t.Context(), &orderv1.CheckConservationRequest{})
			assert.Nil(t, reply)
			assert.Equal(t, 503, kerrors.Code(err), "%v", err)
			assert.ErrorContains(t, err, name+" does not answer")
			assert.Equal(t, "2", kerrors.FromError(err).Metadata["retry_after"])
		})
		t.Run("the database of "+name+" is broken", func(t *testing.T) {
			t.Parallel()
			s := openShop(t)
			_, err := mysqltest.Owner(t, s.order).ExecContext(t.Context(), "DROP DATABASE "+s.peers[name].name)
			require.NoError(t, err)
			requireSilent(t, s.comparator(), name)
		})
	}
	t.Run("the database of order is gone", func(t *testing.T) {
		t.Parallel()
		s := openShop(t)
		require.NoError(t, s.order.Close())
		report, err := s.comparator().Run(t.Context(), time.Minute)
		require.Error(t, err)
		assert.Empty(t, report)
	})
	t.Run("a service has another key", func(t *testing.T) {
		t.Parallel()
		s := openShop(t)
		keys, err := mac.Parse("k2:ffeeddccbbaa99887766554433221100")
		require.NoError(t, err)
		requireSilent(t, s.compared(s.ledger("inventory"), ledger.NewClient(keys, s.peers["credit"].conn), s.ledger("wms")), "credit")
	})
	// The service goes away in the middle of a check, before each of the reads that a difference leads to.
	t.Run("a service goes away", func(t *testing.T) {
		t.Parallel()
		s := openShop(t)
		s.fill(t, 40)
		mysqltest.Corrupt(t, s.wms, "UPDATE delivery_slip SET status = 'CANCELED'")
		for _, h := range []func(kill func()) hooked{
			func(kill func()) hooked { return hooked{digest: kill} },
			func(kill func()) hooked { return hooked{buckets: kill} },
			func(kill func()) hooked { return hooked{orders: kill} },
		} {
			ctx, cancel := context.WithCancel(t.Context())
			hooks := h(cancel)
			hooks.Ledger = s.ledger("wms")
			report, err := s.compared(s.ledger("inventory"), s.ledger("credit"), hooks).Run(ctx, time.Minute)
			require.Error(t, err)
			assert.Empty(t, report)
		}
	})
}

func requireSilent(t *testing.T, c *reconcile.Comparator, service string) {
	t.Helper()
	report, err := c.Run(t.Context(), time.Minute)
	var silent reconcile.Silent
	require.ErrorAs(t, err, &silent)
	assert.Equal(t, service, silent.Service)
	assert.Empty(t, report)
}

// TestTooMuch tests that a hundred orders are named when hundreds are wrong, and that a rule that was not checked against everything does not
// count as kept.
func TestTooMuch(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.fill(t, 30_000)
	mysqltest.Corrupt(t, s.credit, "DELETE FROM credit_entry WHERE gid <> ''",
		"UPDATE credit_account a SET credit = 1000")
	report, err := s.comparator().Run(t.Context(), time.Minute)
	require.NoError(t, err)
	assert.Equal(t, []string{added, addedPaid}, broken(report))
	for _, c := range report.Checks {
		switch c.Name {
		case added:
			assert.Len(t, c.Violations, 100)
			assert.EqualValues(t, 25_500, c.Checked)
		case addedPaid:
			assert.Len(t, c.Violations, 1)
			assert.Contains(t, c.Violations[0], "nothing was read any more")
		}
	}
}

// TestOneAtATime tests that a second check waits for the first, and gives up with its context.
func TestOneAtATime(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	reached, goOn := make(chan struct{}), make(chan struct{})
	c := s.compared(s.ledger("inventory"), s.ledger("credit"),
		hooked{Ledger: s.ledger("wms"), digest: func() { reached <- struct{}{}; <-goOn }})
	first := make(chan error, 1)
	go func() {
		_, err := c.Run(t.Context(), time.Minute)
		first <- err
	}()
	<-reached
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Run(ctx, time.Minute)
	require.ErrorIs(t, err, context.Canceled)
	close(goOn)
	require.NoError(t, <-first)
	go func() { <-reached }()
	_, err = c.Run(t.Context(), time.Minute)
	require.NoError(t, err, "the turn was given back")
}
