package tcc

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	kerrors "github.com/go-kratos/kratos/v2/errors"
)

// macHeader is the header that carries the result of Sign in every call of a branch.
const macHeader = "x-branch-mac"

// Keys sign and check the MAC that every call of a branch carries, so that only a holder of a key (the service that opens the transaction) can
// make a participant act. MACs do not expire: a retry may come hours later.
type Keys struct {
	signer string
	byID   map[string][]byte
}

// ParseKeys parses "id:hex,id:hex". The first key signs; the others are still accepted, for transactions that were opened before the keys were
// changed. A key has at least 16 bytes.
func ParseKeys(text string) (Keys, error) {
	k := Keys{byID: map[string][]byte{}}
	for part := range strings.SplitSeq(text, ",") {
		id, secret, ok := strings.Cut(strings.TrimSpace(part), ":")
		raw, err := hex.DecodeString(secret)
		if !ok || id == "" || err != nil || len(raw) < 16 {
			return Keys{}, errors.New("branch keys are written as id:hex,id:hex, each of at least 16 bytes (32 hex digits)")
		}
		if k.signer == "" {
			k.signer = id
		}
		k.byID[id] = raw
	}
	return k, nil
}

// Sign returns "key id.hex MAC" with a MAC over (key id, gid, subject).
func (k Keys) Sign(gid, subject string) string {
	return k.signer + "." + hex.EncodeToString(k.mac(k.signer, gid, subject))
}

// Headers returns the branch headers of transaction gid about subject.
func (k Keys) Headers(gid, subject string) map[string]string {
	return map[string]string{macHeader: k.Sign(gid, subject)}
}

// Check returns ErrForged unless mac is the result of Sign for (gid, subject) with one of the keys.
func (k Keys) Check(mac, gid, subject string) error {
	if !k.made(mac, gid, subject) {
		return fmt.Errorf("%w: the branch's MAC does not fit gid %q and subject %q", ErrForged, gid, subject)
	}
	return nil
}

// made reports whether mac was made over parts with one of the keys.
func (k Keys) made(mac string, parts ...string) bool {
	id, sum, _ := strings.Cut(mac, ".")
	raw, err := hex.DecodeString(sum)
	_, known := k.byID[id]
	return known && err == nil && hmac.Equal(raw, k.mac(id, parts...))
}

// CallHeaders returns the headers of a call that is not a branch's but needs the same proof: method is its full name, and parts are all that the
// receiver acts on, in an order that both know.
func (k Keys) CallHeaders(method string, parts ...string) map[string]string {
	return map[string]string{macHeader: k.signer + "." + hex.EncodeToString(k.mac(k.signer, callParts(method, parts)...))}
}

// CheckCall checks the MAC of an incoming call, whose context is ctx. It returns ErrForged, which the caller gets as 403, unless the MAC is that
// of CallHeaders(method, parts...) with one of the keys.
func (k Keys) CheckCall(ctx context.Context, method string, parts ...string) error {
	mac := callFrom(ctx).mac
	if !k.made(mac, callParts(method, parts)...) {
		return forged(fmt.Errorf("%w: the MAC does not fit %s of %q", ErrForged, method, parts))
	}
	return nil
}

// callParts returns what the MAC of a call is made over: at least three parts, where that of a branch has two, so that neither passes for the
// other.
func callParts(method string, parts []string) []string {
	return append([]string{"call", method, strconv.Itoa(len(parts))}, parts...)
}

// forged returns err as the 403 that the caller gets.
func forged(err error) error {
	return kerrors.Forbidden("BRANCH_FORGED", err.Error()).WithCause(err)
}

func (k Keys) mac(id string, parts ...string) []byte {
	h := hmac.New(sha256.New, k.byID[id])
	for _, part := range append([]string{id}, parts...) {
		// The leading length distinguishes ("a","bc") from ("ab","c").
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return h.Sum(nil)
}
