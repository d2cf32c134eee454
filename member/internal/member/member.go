// Package member holds the rules of members: no I/O.
package member

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"example.com/fourfold/chassis/email"
)

var (
	// ErrExists means that another member has the phone or the email.
	ErrExists = errors.New("a member with this phone or email exists already")
	// ErrNotFound means that no member has this id.
	ErrNotFound = errors.New("no such member")
	// ErrSignIn does not distinguish an unknown login from a wrong password.
	ErrSignIn = errors.New("unknown login or wrong password")
	// ErrInvalid means that a detail is not usable; the error names it.
	ErrInvalid = errors.New("not valid")
)

// Role is what a member may do.
type Role string

// The roles. An operator may do all that a shopper may.
const (
	Shopper  Role = "shopper"
	Operator Role = "operator"
)

// Member is an account. Phone is E.164, Email is lower-case; each belongs to one member only.
type Member struct {
	ID    string
	Phone string
	Email string
	Name  string
	Role  Role
	// Epoch counts how often the member's tokens were ended.
	Epoch     int64
	CreatedAt time.Time
}

// maxEmail is what the column has room for; it is less than email.Longest.
const maxEmail = 200

// New makes a member with phone, email and name in their normal form. It returns ErrInvalid, naming the detail that has none, or to which
// nothing could be sent.
func New(id, phone, address, name string, role Role) (Member, error) {
	m := Member{ID: id, Phone: normalPhone(phone), Email: normalEmail(address), Name: strings.TrimSpace(name), Role: role}
	wrong := email.Public(strings.ToLower(strings.TrimSpace(address)))
	switch n := utf8.RuneCountInString(m.Name); {
	case m.Phone == "":
		return Member{}, fmt.Errorf("%w: phone: write it with + and the country code, as +8613800138000", ErrInvalid)
	case wrong != nil:
		return Member{}, fmt.Errorf("%w: email: it %w: write it as name@example.com", ErrInvalid, wrong)
	case m.Email == "":
		return Member{}, fmt.Errorf("%w: email: write it as name@example.com, at most %d characters", ErrInvalid, maxEmail)
	case n < 1 || n > 100 || strings.ContainsFunc(m.Name, unicode.IsControl):
		return Member{}, fmt.Errorf("%w: name: 1 to 100 characters on one line", ErrInvalid)
	case role != Shopper && role != Operator:
		return Member{}, fmt.Errorf("%w: role: %s or %s", ErrInvalid, Shopper, Operator)
	}
	return m, nil
}

// Login is a phone or an email in its normal form. One of the two is set, or none if the text was neither.
type Login struct{ Phone, Email string }

// ParseLogin parses the text with which somebody signs in.
func ParseLogin(s string) Login {
	if strings.Contains(s, "@") {
		return Login{Email: normalEmail(s)}
	}
	return Login{Phone: normalPhone(s)}
}

// Or returns the login as one text in the normal form, and text without the space around it when that was neither a phone nor an email.
func (l Login) Or(text string) string { return cmp.Or(l.Phone, l.Email, strings.TrimSpace(text)) }

// normalEmail returns s in lower case without the space around it, or "" when s is not an address. It accepts only ASCII, so that two addresses
// that look alike are alike. It accepts more than New does: members who signed up with another rule can sign in.
func normalEmail(s string) string {
	s = strings.TrimSpace(s)
	name, domain, _ := strings.Cut(s, "@")
	if name == "" || domain == "" || strings.Contains(domain, "@") || len(s) > maxEmail {
		return ""
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return ""
		}
	}
	return strings.ToLower(s)
}

// normalPhone returns s as E.164: +, the country code and the number, 7 to 15 digits, without the spaces, hyphens, dots and brackets that people
// write between them. It returns "" when s has no + or is not a number.
func normalPhone(s string) string {
	digits, found := strings.CutPrefix(strings.TrimSpace(s), "+")
	digits = strings.NewReplacer(" ", "", "-", "", ".", "", "(", "", ")", "").Replace(digits)
	if !found || len(digits) < 7 || len(digits) > 15 || digits[0] == '0' || strings.Trim(digits, "0123456789") != "" {
		return ""
	}
	return "+" + digits
}
