// Package page cuts lists into pages: a service reads one row more than the page has, and a page's last row is where the next goes on.
package page

import (
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
)

// MaxBytes is how long the rows of a page are together, as protobuf, unless one row alone is longer. Clients of gRPC take 4 MiB.
const MaxBytes = 1 << 20

// Size returns how many rows a page has at most: as many as asked for, or 20 when asked is 0. The upper limit is in the request's validation
// rule.
func Size(asked int32) int32 {
	if asked <= 0 {
		return 20
	}
	return asked
}

// List is a list as one caller asked for it. Its tokens are good for the same list asked for in the same way, and for no other.
type List struct{ name, of string }

// Of returns the list of that name. asked is what else decides which rows it has: filters, or whose they are.
func Of(name string, asked ...string) List { return List{name, fmt.Sprintf("%q", asked)} }

// DeadLetters returns the list of a service's dead letters, of one group or of all when group is empty. Its positions are the numbers of rows.
func DeadLetters(service, group string) List { return Of("dead letters of "+service, group) }

// ErrToken is the error for a token that is none of this list's.
var ErrToken = errors.New("not one of this list's: send next_page_token of the page before, and the same filters as there, or none")

// Token returns the token of the page after the row at position.
func (l List) Token(position string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(l.name + "\n" + position + "\n" + l.sum(position)))
}

// sum recognizes what was changed, and tokens of the same list asked for otherwise.
func (l List) sum(position string) string {
	return strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(l.name+l.of+position))), 36)
}

// After returns the position of the row that token's page comes after; it is empty for the first page, which has no token. It returns ErrToken
// unless the token is, to the letter, what Token returned.
func (l List) After(token string) (string, error) {
	if token == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		if parts := strings.Split(string(raw), "\n"); len(parts) == 3 && l.Token(parts[1]) == token {
			return parts[1], nil
		}
	}
	return "", fmt.Errorf("page_token %.100q: %w", token, ErrToken)
}

// AfterNumber is After for lists whose positions are numbers; it returns 0 for the first page.
func (l List) AfterNumber(token string) (int64, error) {
	position, err := l.After(token)
	if position == "" || err != nil {
		return 0, err
	}
	n, ok := Number(position)
	if !ok {
		return 0, fmt.Errorf("page_token %.100q: %w", token, ErrToken)
	}
	return n, nil
}

// Number parses the number of a row, which is positive. It accepts only what strconv.FormatInt writes.
func Number(text string) (n int64, ok bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n > 0 && strconv.FormatInt(n, 10) == text
}

// Cut returns the page that begins with rows, which were read with a limit of size + 1, as protos, and the next page's token, which is empty when
// this page is the last. The page ends before it would be longer than MaxBytes, but has one row at least.
func Cut[T any, P proto.Message](l List, rows []T, size int32, position func(T) string, show func(T) P) ([]P, string) {
	var (
		page  []P
		bytes int
	)
	for i, row := range rows {
		p := show(row)
		bytes += proto.Size(p)
		if i > 0 && (i == int(size) || bytes > MaxBytes) {
			return page, l.Token(position(rows[i-1]))
		}
		page = append(page, p)
	}
	return page, ""
}

// Fit returns as many of the last of rows as a page has room for, at least one.
func Fit[P proto.Message](rows []P) []P {
	bytes := 0
	for i := len(rows) - 1; i >= 0; i-- {
		if bytes += proto.Size(rows[i]); bytes > MaxBytes {
			return rows[min(i+1, len(rows)-1):]
		}
	}
	return rows
}
