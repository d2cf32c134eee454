package mysql_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/member/internal/mysql"
)

func subject(name string) string { return name + strings.Repeat("-", 43-len(name)) }

// TestAllowance tests the burst, what comes back with time, and that subjects have nothing to do with each other.
func TestAllowance(t *testing.T) {
	t.Parallel()
	s, db := open(t)
	rate := mysql.Rate{PerHour: 10, Burst: 3}
	take := func(of string) time.Duration {
		t.Helper()
		wait, err := s.Take(t.Context(), subject(of), rate)
		require.NoError(t, err)
		return wait
	}
	pass := func(d time.Duration) {
		t.Helper()
		_, err := db.ExecContext(t.Context(), "UPDATE allowance SET whole_at = TIMESTAMPADD(SECOND, -?, whole_at)", int(d.Seconds()))
		require.NoError(t, err)
	}
	for range 3 {
		assert.Zero(t, take("a"))
	}
	for range 5 {
		assert.InDelta(t, 6*time.Minute, take("a"), float64(20*time.Second), "what is refused is not counted")
	}
	assert.Zero(t, take("b"))
	pass(5 * time.Minute)
	assert.InDelta(t, time.Minute, take("a"), float64(20*time.Second))
	pass(time.Minute)
	assert.Zero(t, take("a"))
	assert.Positive(t, take("a"))
	require.NoError(t, s.GiveBack(t.Context(), subject("a"), rate))
	assert.Zero(t, take("a"))
	pass(100 * time.Hour)
	for range 3 {
		assert.Zero(t, take("a"), "never more than the burst")
	}
	assert.Positive(t, take("a"))

	require.NoError(t, s.GiveBack(t.Context(), subject("nobody"), rate))
	wait, err := s.Take(t.Context(), subject("a"), mysql.Rate{Burst: 1})
	require.NoError(t, err)
	assert.Zero(t, wait, "0 an hour is no limit")
}

// TestAllowanceAtOnce tests that of many at once exactly as many pass as there are.
func TestAllowanceAtOnce(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	for round := range 5 {
		var passed atomic.Int64
		var group sync.WaitGroup
		for range 40 {
			group.Go(func() {
				wait, err := s.Take(t.Context(), subject(fmt.Sprint("a", round)), mysql.Rate{PerHour: 10, Burst: 10})
				if wait == 0 {
					passed.Add(1)
				}
				assert.NoError(t, err)
			})
		}
		group.Wait()
		assert.EqualValues(t, 10, passed.Load())
	}
}

// TestAllowanceIsBegunAtOnce: of the first few at the same time none is refused: there is enough.
func TestAllowanceIsBegunAtOnce(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	for round := range 30 {
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				wait, err := s.Take(t.Context(), subject(fmt.Sprint("b", round)), mysql.Rate{PerHour: 10, Burst: 10})
				assert.NoError(t, err)
				assert.Zero(t, wait)
			})
		}
		group.Wait()
	}
}

func TestAddressesOfAMember(t *testing.T) {
	t.Parallel()
	s, db := open(t)
	for n := range 7 {
		require.NoError(t, s.SawAddress(t.Context(), id(1), subject(fmt.Sprint(n))))
		_, err := db.ExecContext(t.Context(), "UPDATE member_address SET seen_at = TIMESTAMPADD(SECOND, -1, seen_at)")
		require.NoError(t, err)
	}
	require.NoError(t, s.SawAddress(t.Context(), id(1), subject("2")))
	require.NoError(t, s.SawAddress(t.Context(), id(1), subject("7")))
	assert.Equal(t, "2 4 5 6 7", strings.Join(strings.FieldsFunc(mysqltest.Dump(t, db, "SELECT address FROM member_address ORDER BY address"),
		func(r rune) bool { return r == '-' || r == '\n' }), " "), "the last five")
	for memberID, want := range map[string]bool{id(1): true, id(2): false, "": false} {
		known, err := s.KnowsAddress(t.Context(), memberID, subject("7"))
		require.NoError(t, err)
		assert.Equal(t, want, known)
	}
}
