package account_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/fourfold/credit/internal/account"
)

// TestEveryEvent tests that each event goes the one way that the diagram shows.
func TestEveryEvent(t *testing.T) {
	t.Parallel()
	for event, want := range map[account.Event]account.Transition{
		"grant":          {From: "", To: "ADDED"},
		"prepare add":    {From: "", To: "PREPARED"},
		"confirm add":    {From: "PREPARED", To: "ADDED"},
		"cancel add":     {From: "PREPARED", To: "CANCELED"},
		"prepare deduct": {From: "ADDED", To: "DEDUCTING"},
		"confirm deduct": {From: "DEDUCTING", To: "DEDUCTED"},
		"cancel deduct":  {From: "DEDUCTING", To: "ADDED"},
	} {
		assert.Equal(t, want, event.Transition(), "%s", event)
	}
}

func TestNewEntry(t *testing.T) {
	t.Parallel()
	for _, points := range []int64{0, 10, account.MaxPoints} {
		e, err := account.NewEntry("order-1", "m-1", points)
		require.NoError(t, err)
		assert.Equal(t, account.Entry{Source: "order-1", MemberID: "m-1", Points: points}, e)
	}
	for _, bad := range []struct {
		source, member string
		points         int64
		names          string
	}{
		{"", "m-1", 1, "source"},
		{"order-1", "", 1, "member_id"},
		{"order-1", "m 1", 1, "member_id"},
		{"order-1", "m-1 ", 1, "member_id"},
		{"order-é", "m-1", 1, "source"},
		{strings.Repeat("o", 65), "m-1", 1, "source"},
		{"order-1", "m-1", -1, "points"},
		{"order-1", "m-1", account.MaxPoints + 1, "points"},
	} {
		_, err := account.NewEntry(bad.source, bad.member, bad.points)
		require.ErrorIs(t, err, account.ErrInvalid, "%+v", bad)
		assert.ErrorContains(t, err, bad.names)
	}
}

func TestPositions(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := account.Position{
			CreatedAt: time.UnixMilli(rapid.Int64Range(0, account.Newest().CreatedAt.UnixMilli()).Draw(t, "ms")).UTC(),
			Source:    rapid.StringMatching(`[!-~]{1,64}`).Draw(t, "source"),
		}
		got, err := account.ParsePosition(p.String())
		require.NoError(t, err)
		assert.Equal(t, p, got)
	})
	first, err := account.ParsePosition("")
	require.NoError(t, err)
	assert.Equal(t, account.Newest(), first)
}

func TestBadPositions(t *testing.T) {
	t.Parallel()
	for _, token := range []string{
		"x", ".", "5.", ".order-1", "x.order-1", "5 .order-1", "+5.order-1", "05.order-1", "-5.order-1", "5.ordér", "5.a b",
		"9223372036854775807.order-1", "99999999999999999999.order-1", "5." + strings.Repeat("o", 65), "253402300800000.order-1",
	} {
		_, err := account.ParsePosition(token)
		require.ErrorIs(t, err, account.ErrInvalid, token)
		assert.ErrorContains(t, err, "position")
	}
}
