// Package pseudonym names logins and addresses in tables and logs, so that whoever reads those cannot tell which they are: the names of phone
// numbers without a key could be found by trying all numbers.
package pseudonym

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
)

// Names makes pseudonyms with a key.
type Names struct{ key []byte }

// New returns Names with a secret key. Under another key all pseudonyms are others.
func New(key []byte) Names { return Names{key} }

// Of returns a text of 43 letters, digits, - and _ for the parts, which differs by their number, too. The first part says what it is for.
func (n Names) Of(parts ...string) string {
	h := hmac.New(sha256.New, n.key)
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}
