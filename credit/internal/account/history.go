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

// String returns p as ParsePosition reads it: milliseconds since 1970, a dot, the source.
func (p Position) String() string {
	return strconv.FormatInt(p.CreatedAt.UnixMilli(), 10) + "." + p.Source
}

// ParsePosition reads a position. An empty text is Newest. It returns ErrInvalid for a text that String did not write.
func ParsePosition(text string) (Position, error) {
	if text == "" {
		return Newest(), nil
	}
	ms, source, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(ms, 10, 64)
	p := Position{time.UnixMilli(n).UTC(), source}
	if err != nil || n < 0 || p.CreatedAt.After(Newest().CreatedAt) || CheckID("source", source) != nil || p.String() != text {
		return Position{}, fmt.Errorf("%w position %.100q", ErrInvalid, text)
	}
	return p, nil
}
