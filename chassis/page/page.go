// Package page cuts lists into pages: a service reads one row more than the page has, and a page's last row is where the next goes on.
package page

import (
	"fmt"

	"github.com/google/uuid"
)

// Size returns how many rows a page has: as many as asked for, or 20 when asked is 0. The upper limit is in the request's validation rule.
func Size(asked int32) int32 {
	if asked <= 0 {
		return 20
	}
	return asked
}

// Cut returns a page of rows, which were read with a limit of size + 1, and the next page's token, which is empty when this page is the last.
func Cut[T any](rows []T, size int32, token func(T) string) ([]T, string) {
	if len(rows) <= int(size) {
		return rows, ""
	}
	rows = rows[:size]
	return rows, token(rows[size-1])
}

// BadToken returns the error for a token that no page returned.
func BadToken(token string) error {
	return fmt.Errorf("page_token %.100q: send next_page_token of the page before, or none", token)
}

// CheckID returns BadToken unless token is empty or a row's id (a UUID of version 7) in its canonical form.
func CheckID(token string) error {
	if token == "" {
		return nil
	}
	if id, err := uuid.Parse(token); err != nil || id.Version() != 7 || id.String() != token {
		return BadToken(token)
	}
	return nil
}
