// Package mac signs what services tell each other, so that only a holder of a key is believed.
package mac

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Keys make and check MACs. The zero value has no key: it makes none and knows none.
//
// A MAC reads "key id.HMAC-SHA-256 in base64url", over the key id and parts. The first part should say what the MAC is good for, so that none
// passes for one of another kind.
type Keys struct {
	signer string
	byID   map[string][]byte
}

// keyID is what a key may be called: the id stands in headers and before a dot.
var keyID = regexp.MustCompile(`^[0-9A-Za-z_-]{1,16}$`)

// Parse parses "id:hex,id:hex". The first key signs; the others are still known, for what was signed before the keys were changed. A key has at
// least 16 bytes, and an id that no other key has.
func Parse(text string) (Keys, error) {
	k := Keys{byID: map[string][]byte{}}
	for part := range strings.SplitSeq(text, ",") {
		id, secret, ok := strings.Cut(strings.TrimSpace(part), ":")
		raw, err := hex.DecodeString(secret)
		if !ok || !keyID.MatchString(id) || err != nil || len(raw) < 16 {
			return Keys{}, errors.New("keys are written as id:hex,id:hex; an id has 1 to 16 letters, digits, _ or -, and a key at " +
				"least 16 bytes (32 hex digits)")
		}
		if _, taken := k.byID[id]; taken {
			return Keys{}, fmt.Errorf("two keys are called %q: what one of them signed would be refused", id)
		}
		if k.signer == "" {
			k.signer = id
		}
		k.byID[id] = raw
	}
	return k, nil
}

// UnmarshalText is Parse, for configurations; an empty text is no key.
func (k *Keys) UnmarshalText(text []byte) (err error) {
	*k = Keys{}
	if len(text) > 0 {
		*k, err = Parse(string(text))
	}
	return err
}

// None reports whether there is no key.
func (k Keys) None() bool { return len(k.byID) == 0 }

// Sign returns a MAC over parts with the first key.
func (k Keys) Sign(parts ...string) string { return k.mac(k.signer, parts) }

// Made reports whether mac was made over parts with one of the keys.
func (k Keys) Made(mac string, parts ...string) bool {
	id, _, _ := strings.Cut(mac, ".")
	_, known := k.byID[id]
	return known && hmac.Equal([]byte(mac), []byte(k.mac(id, parts)))
}

func (k Keys) mac(id string, parts []string) string {
	h := hmac.New(sha256.New, k.byID[id])
	for _, part := range append([]string{id}, parts...) {
		// The leading length distinguishes ("a","bc") from ("ab","c").
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return id + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}
