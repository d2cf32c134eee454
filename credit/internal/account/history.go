package account

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Position is a place in a member's history, which goes from the newest entry to the oldest, and within a millisecond from the highest source to
// the lowest. A page starts after it.
type Position struct {
	CreatedAt time.Time
	Source    string
}

// Newest is the position before every entry.
func Newest() Position { return Position{CreatedAt: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)} }

// Position returns the place of e.
func (e Entry) Position() Position { return Position{e.CreatedAt, e.Source} }

// Token returns p as a page token: milliseconds since 1970, a dot, the source.
func (p Position) Token() string {
	return strconv.FormatInt(p.CreatedAt.UnixMilli(), 10) + "." + p.Source
}

// ParsePosition reads a page token. An empty token is Newest. It returns ErrInvalid for a token that Token did not write.
func ParsePosition(token string) (Position, error) {
	if token == "" {
		return Newest(), nil
	}
	ms, source, _ := strings.Cut(token, ".")
	n, err := strconv.ParseInt(ms, 10, 64)
	p := Position{time.UnixMilli(n).UTC(), source}
	if err != nil || n < 0 || p.CreatedAt.After(Newest().CreatedAt) || CheckID("source", source) != nil || p.Token() != token {
		return Position{}, fmt.Errorf("%w page_token %.100q: send next_page_token of the page before, or none", ErrInvalid, token)
	}
	return p, nil
}
