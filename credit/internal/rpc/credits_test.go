package rpc_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	accessv1 "example.com/fourfold/api/access/v1"
	creditv1 "example.com/fourfold/api/credit/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/page"
	"example.com/fourfold/credit/internal/account"
	"example.com/fourfold/credit/internal/mysql"
	"example.com/fourfold/credit/internal/rpc"
	"example.com/fourfold/credit/migrations"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// as returns the context of a call by a member.
func as(t *testing.T, memberID string) context.Context {
	return identity.NewContext(t.Context(), identity.Caller{MemberID: memberID, Role: accessv1.Shopper})
}

func TestGetMyCredit(t *testing.T) {
	t.Parallel()
	store := mysql.NewStore(mysqltest.Open(t, migrations.FS))
	c := rpc.NewCredits(store)
	got, err := c.GetMyCredit(as(t, "m-1"), nil)
	require.NoError(t, err)
	assert.Equal(t, "m-1 0 0 0 false", line(got), "no account yet")

	_, _, err = store.Grant(t.Context(), account.Entry{Source: "e-1", MemberID: "m-1", Points: 7})
	require.NoError(t, err)
	got, err = c.GetMyCredit(as(t, "m-1"), nil)
	require.NoError(t, err)
	assert.Equal(t, "m-1 7 0 0 false", line(got))
	got, err = c.GetMyCredit(as(t, "M-1"), nil)
	require.NoError(t, err)
	assert.Equal(t, "M-1 0 0 0 false", line(got), "ids are compared byte by byte")
}

func TestSetFrozen(t *testing.T) {
	t.Parallel()
	store := mysql.NewStore(mysqltest.Open(t, migrations.FS))
	c := rpc.NewCredits(store)
	for _, frozen := range []bool{true, true, false, true} {
		got, err := c.SetFrozen(t.Context(), &creditv1.SetFrozenRequest{Id: "never-met", Frozen: &frozen})
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprintf("never-met 0 0 0 %t", frozen), line(got))
	}
	_, added, err := store.Grant(t.Context(), account.Entry{Source: "e-1", MemberID: "never-met", Points: 7})
	require.NoError(t, err)
	require.True(t, added, "a gift is no payment: a frozen account takes it")
	got, err := c.SetFrozen(t.Context(), &creditv1.SetFrozenRequest{Id: "never-met", Frozen: new(true)})
	require.NoError(t, err)
	assert.Equal(t, "never-met 7 0 0 true", line(got), "freezing leaves the points alone")

	_, err = c.SetFrozen(t.Context(), &creditv1.SetFrozenRequest{Id: "zoë", Frozen: new(true)})
	require.True(t, creditv1.IsCreditInvalid(err), "%v", err)
}

// TestListMyEntries reads the history by pages of every size: newest first, each entry once, also those of one millisecond, and no other
// member's.
func TestListMyEntries(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, migrations.FS)
	c := rpc.NewCredits(mysql.NewStore(db))
	statuses := []string{"PREPARED", "ADDED", "CANCELED", "DEDUCTING", "DEDUCTED"}
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	var want []string
	for i := range 25 {
		member, source := "m-1", fmt.Sprintf("order-%02d", i)
		if i%5 == 4 {
			member = "m-2"
		}
		created := at.Add(time.Duration(i/4) * time.Millisecond)
		_, err := db.ExecContext(t.Context(),
			"INSERT INTO credit_entry (source, member_id, gid, points, status, created_at) VALUES (?, ?, '', ?, ?, ?)",
			source, member, i, statuses[i/5], created)
		require.NoError(t, err)
		if member == "m-1" {
			want = append(want, fmt.Sprintf("%s %d %s %s", source, i, statuses[i/5], created.Format(time.StampMilli)))
		}
	}
	slices.Reverse(want)

	for _, size := range []int32{0, 1, 2, 3, 7, 19, 20, 21, 100} {
		var got []string
		token := ""
		for {
			reply, err := c.ListMyEntries(as(t, "m-1"), &creditv1.ListMyEntriesRequest{PageSize: size, PageToken: token})
			require.NoError(t, err)
			for _, e := range reply.GetEntries() {
				got = append(got,
					fmt.Sprintf("%s %d %s %s", e.GetSource(), e.GetPoints(), e.GetStatus(), e.GetCreatedAt().AsTime().Format(time.StampMilli)))
			}
			if token = reply.GetNextPageToken(); token == "" {
				break
			}
			require.NotEmpty(t, reply.GetEntries())
			require.LessOrEqual(t, len(got), len(want))
		}
		require.Equal(t, want, got, "pages of %d", size)
	}

	reply, err := c.ListMyEntries(as(t, "m-1"), &creditv1.ListMyEntriesRequest{PageSize: 1})
	require.NoError(t, err)
	_, err = c.ListMyEntries(as(t, "m-2"), &creditv1.ListMyEntriesRequest{PageToken: reply.GetNextPageToken()})
	require.True(t, creditv1.IsCreditInvalid(err), "somebody else's page token: %v", err)
}

func TestBadPageTokenIsNamed(t *testing.T) {
	t.Parallel()
	c := rpc.NewCredits(mysql.NewStore(mysqltest.Open(t, migrations.FS)))
	for _, token := range []string{"x", "1767323045678.order-1", page.Of("entries", "m-1").Token("5."), page.Of("entries").Token("5.a")} {
		_, err := c.ListMyEntries(as(t, "m-1"), &creditv1.ListMyEntriesRequest{PageToken: token})
		require.True(t, creditv1.IsCreditInvalid(err), "%v", err)
		assert.ErrorContains(t, err, "page_token")
	}
}

func line(a *creditv1.Account) string {
	return fmt.Sprint(a.GetMemberId(), " ", a.GetCredit(), a.GetPrepareAddCredit(), a.GetPrepareDeductCredit(), a.GetFrozen())
}
