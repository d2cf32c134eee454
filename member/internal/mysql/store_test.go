package mysql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/member/internal/member"
	"example.com/fourfold/member/internal/mysql"
	"example.com/fourfold/member/migrations"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// testStore is a store over a database of the test's own.
type testStore struct {
	*mysql.Store
	db *sql.DB
}

func open(t *testing.T) (testStore, *sql.DB) {
	t.Helper()
	db := mysqltest.Open(t, migrations.FS)
	return testStore{mysql.NewStore(db), db}, db
}

// Create adds m in a transaction of its own.
func (s testStore) Create(ctx context.Context, m member.Member, hash string) error {
	return database.InTx(ctx, s.db, func(tx *sql.Tx) error { return s.Store.Create(ctx, tx, m, hash) })
}

func id(n int) string { return fmt.Sprintf("01900000-0000-7000-8000-%012d", n) }

func newMember(t *testing.T, n int, phone, email string) member.Member {
	t.Helper()
	m, err := member.New(id(n), phone, email, "李安 🙂", member.Shopper)
	require.NoError(t, err)
	return m
}

func TestCreateAndFind(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	before := time.Now()
	want := newMember(t, 1, "+8613800138000", "ann@example.com")
	want.Role = member.Operator
	require.NoError(t, s.Create(t.Context(), want, "hash-1"))
	require.NoError(t, s.Create(t.Context(), newMember(t, 2, "+8613800138002", "bob@example.com"), "hash-2"))

	got, err := s.Member(t.Context(), want.ID)
	require.NoError(t, err)
	assert.WithinRange(t, got.CreatedAt, before.Add(-time.Second), time.Now().Add(time.Second), "the time is UTC")
	assert.Equal(t, time.UTC, got.CreatedAt.Location())
	want.CreatedAt = got.CreatedAt
	assert.Equal(t, want, got)
	for _, login := range []member.Login{{Phone: want.Phone}, {Email: want.Email}} {
		got, hash, err := s.ByLogin(t.Context(), login)
		require.NoError(t, err)
		assert.Equal(t, want, got)
		assert.Equal(t, "hash-1", hash)
	}
}

func TestNotFound(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	require.NoError(t, s.Create(t.Context(), newMember(t, 1, "+8613800138000", "ann@example.com"), "hash"))
	for _, login := range []member.Login{
		{},
		{Phone: "+8613800138001"},
		{Email: "bob@example.com"},
		{Email: "Ann@example.com"}, // the normal form decides, not a collation
		{Phone: "ann@example.com"},
	} {
		_, hash, err := s.ByLogin(t.Context(), login)
		require.ErrorIs(t, err, member.ErrNotFound, "%+v", login)
		assert.Empty(t, hash)
	}
	for _, id := range []string{"", id(2), "' OR ''='"} {
		_, err := s.Member(t.Context(), id)
		require.ErrorIs(t, err, member.ErrNotFound)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Member(ctx, id(1))
	require.ErrorIs(t, err, context.Canceled, "no answer is not an absent member")
}

func TestPhoneAndEmailBelongToOneMember(t *testing.T) {
	t.Parallel()
	s, db := open(t)
	first := newMember(t, 1, "+8613800138000", "ann@example.com")
	require.NoError(t, s.Create(t.Context(), first, "hash-1"))
	for _, taken := range []member.Member{
		newMember(t, 2, "+8613800138000", "bob@example.com"),
		newMember(t, 2, "+8613800138002", "ann@example.com"),
		newMember(t, 2, "+8613800138000", "ann@example.com"),
	} {
		require.ErrorIs(t, s.Create(t.Context(), taken, "hash-2"), member.ErrExists)
	}
	_, hash, err := s.ByLogin(t.Context(), member.Login{Email: first.Email})
	require.NoError(t, err)
	assert.Equal(t, "hash-1", hash)
	assert.Equal(t, 1, count(t, db))
}

func TestRacersForOneEmail(t *testing.T) {
	t.Parallel()
	s, db := open(t)
	const racers = 20
	start, done := make(chan struct{}), make(chan error)
	for n := range racers {
		m := newMember(t, n, fmt.Sprintf("+86138001380%02d", n), "ann@example.com")
		go func() {
			<-start
			done <- s.Create(t.Context(), m, "hash")
		}()
	}
	close(start)
	created := 0
	for range racers {
		if err := <-done; err == nil {
			created++
		} else if !errors.Is(err, member.ErrExists) {
			assert.NoError(t, err)
		}
	}
	assert.Equal(t, 1, created)
	assert.Equal(t, 1, count(t, db))
}

func TestTheTableKnowsTheRoles(t *testing.T) {
	t.Parallel()
	s, db := open(t)
	m := newMember(t, 1, "+8613800138000", "ann@example.com")
	m.Role = "admin"
	require.Error(t, s.Create(t.Context(), m, "hash"))
	assert.Equal(t, 0, count(t, db))
}

func count(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM member").Scan(&n))
	return n
}
