// Package deadlock repeats what the log's database rolled back to end a deadlock. DTM itself returns that error to its caller, for whom it means
// that anything may have happened, or leaves the transaction until its next attempt, seconds later.
package deadlock

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/go-sql-driver/mysql"
)

const (
	// attempts bounds the calls of Repeat. With the pauses they take a quarter of a second, far less than the caller waits.
	attempts = 8
	// firstPause is the longest pause before the second attempt; it doubles each time.
	firstPause = 2 * time.Millisecond
)

// Repeat calls f, and calls it again while it returns, or panics with, error 1213: the database chose it as the victim of a deadlock. f must be
// one transaction, or one statement outside of any, which the database has then undone as a whole. After the last attempt the error says that
// nothing was changed. Every other error and every other panic of f is passed on. call, and of, a transaction, are for the log.
func Repeat(call, of string, f func() error) error {
	for n := 1; ; n++ {
		err := caught(f)
		if !isVictim(err) {
			return err
		}
		if n == attempts {
			return fmt.Errorf("%s of %s: nothing was changed, ask again; the database ended %d deadlocks in a row by undoing it: %w",
				call, of, n, err)
		}
		slog.Warn("undone to end a deadlock: repeated", "call", call, "of", of, "attempt", n, "err", err)
		time.Sleep(rand.N(firstPause << (n - 1)))
	}
}

// caught calls f and returns its error, or the deadlock that it panics with.
func caught(f func() error) (err error) {
	defer func() {
		switch x := recover().(type) {
		case nil:
		case error:
			if !isVictim(x) {
				panic(x)
			}
			err = x
		default:
			panic(x)
		}
	}()
	return f()
}

func isVictim(err error) bool {
	const deadlock = 1213 // ER_LOCK_DEADLOCK
	var e *mysql.MySQLError
	return errors.As(err, &e) && e.Number == deadlock
}
