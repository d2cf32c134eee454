package password

import (
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/trustelem/zxcvbn/frequency"

	"example.com/fourfold/member/internal/member"
)

// Check returns member.ErrInvalid, naming the password, unless it may be m's: 8 to 128 characters, and none that is tried first. Those are the
// common ones, the same few characters again and again, and what anybody who knows the account knows.
func Check(password string, m member.Member) error {
	n := utf8.RuneCountInString(normal(password))
	folded := strings.ToLower(normal(password))
	switch {
	case n < 8 || n > 128:
		return fmt.Errorf("%w: password: 8 to 128 characters", member.ErrInvalid)
	case common()[folded], repeated(folded), count(folded):
		return fmt.Errorf("%w: password: it is one of those that are tried first: choose another", member.ErrInvalid)
	case personal(folded, m):
		return fmt.Errorf("%w: password: it is your name, phone or email: choose another", member.ErrInvalid)
	}
	return nil
}

// common are the passwords that are used most, in lower case. The list is zxcvbn's: 30,000, of which 11,600 are long enough.
var common = sync.OnceValue(func() map[string]bool {
	all := map[string]bool{}
	for _, p := range frequency.FrequencyLists["passwords"] {
		if utf8.RuneCountInString(p) >= 8 {
			all[p] = true
		}
	}
	return all
})

// repeated reports whether s is one text of at most four characters again and again.
func repeated(s string) bool {
	r := []rune(s)
	for period := 1; period <= 4; period++ {
		same := true
		for i := period; i < len(r) && same; i++ {
			same = r[i] == r[i-period]
		}
		if same {
			return true
		}
	}
	return false
}

// count reports whether s counts up or down: 23456789, zyxwvuts.
func count(s string) bool {
	r := []rune(s)
	for _, step := range []rune{1, -1} {
		same := true
		for i := 1; i < len(r) && same; i++ {
			same = r[i]-r[i-1] == step || r[i-1] == '9' && r[i] == '0' && step == 1
		}
		if same {
			return true
		}
	}
	return false
}

// personal reports whether s is what is known of m: in whole, or with no more than four other characters around it.
func personal(s string, m member.Member) bool {
	local, _, _ := strings.Cut(m.Email, "@")
	for _, known := range []string{m.Email, local, strings.TrimPrefix(m.Phone, "+"), strings.ToLower(m.Name), "fourfold"} {
		if len(known) >= 4 && strings.Contains(s, known) && utf8.RuneCountInString(s)-utf8.RuneCountInString(known) <= 4 {
			return true
		}
	}
	// A phone without its country code.
	return len(s) >= 8 && strings.HasSuffix(m.Phone, s)
}
