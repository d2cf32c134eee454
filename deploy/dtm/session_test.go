package main

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// session is one connection of the test to the log of a coordinator: LOCK TABLES and open transactions belong to it.
type session struct{ *sql.Conn }

// newSession connects to the database that env names.
func newSession(t *testing.T, env []string) session {
	t.Helper()
	db, err := sql.Open("mysql", mariadb.DSN(strings.TrimPrefix(env[1], "STORE_DB=")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return session{conn}
}

func (s session) exec(t *testing.T, stmt string, args ...any) {
	t.Helper()
	if _, err := s.ExecContext(t.Context(), stmt, args...); err != nil {
		t.Fatalf("%v: %s", err, stmt)
	}
}

func (s session) number(t *testing.T, query string, args ...any) (n int) {
	t.Helper()
	if err := s.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%v: %s", err, query)
	}
	return n
}

// awaits returns when n statements like pattern are under way in the session's database.
func (s session) awaits(t *testing.T, n int, pattern string) {
	t.Helper()
	eventually(t, 10*time.Second, fmt.Sprintf("%d × %s", n, pattern), func() bool {
		return s.number(t, "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND info LIKE ? AND id <> CONNECTION_ID()",
			pattern) == n
	})
}

// forced counts what deadlock does.
var forced atomic.Int64

// deadlock makes the next n statements fail as the victims of a deadlock that do event (INSERT, UPDATE) to rows of table for which
// condition holds. done returns how many such statements there were in all.
func (s session) deadlock(t *testing.T, n int, event, table, condition string) (done func(*testing.T) int) {
	t.Helper()
	name := fmt.Sprint("forced_", forced.Add(1))
	// A sequence is outside all transactions, so it also counts what is undone.
	s.exec(t, "CREATE SEQUENCE "+name+" NOCACHE")
	s.exec(t, fmt.Sprintf(`CREATE TRIGGER %s BEFORE %s ON %s FOR EACH ROW IF %s THEN IF NEXT VALUE FOR %s <= %d THEN
		SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'forced deadlock'; END IF; END IF`,
		name, event, table, condition, name, n))
	return func(t *testing.T) int {
		t.Helper()
		return s.number(t, "SELECT next_not_cached_value - 1 FROM "+name)
	}
}

// within returns a context for calls that must be answered soon.
func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}
