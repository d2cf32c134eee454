package tcc

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"google.golang.org/grpc/metadata"
)

// Keys sign and check the MACs that calls between services carry, so that only a holder of a key makes a participant act. MACs do not expire: a
// retry may come hours later.
//
// A MAC reads "key id.HMAC-SHA-256 in base64url", over the key id and parts. The first part says what it is good for: "try", "decided" (a
// branch's Confirm and Cancel; Call) or "call" (CallHeaders). So none passes for another.
type Keys struct {
	signer string
	byID   map[string][]byte
}

// keyID is what a key may be called: the id stands in headers, in the coordinator's log, and before a dot.
var keyID = regexp.MustCompile(`^[0-9A-Za-z_-]{1,16}$`)

// ParseKeys parses "id:hex,id:hex". The first key signs; the others are still accepted, for transactions that were opened before the keys were
// changed. A key has at least 16 bytes, and an id that no other key has.
func ParseKeys(text string) (Keys, error) {
	k := Keys{byID: map[string][]byte{}}
	for part := range strings.SplitSeq(text, ",") {
		id, secret, ok := strings.Cut(strings.TrimSpace(part), ":")
		raw, err := hex.DecodeString(secret)
		if !ok || !keyID.MatchString(id) || err != nil || len(raw) < 16 {
			return Keys{}, errors.New("branch keys are written as id:hex,id:hex; an id has 1 to 16 letters, digits, _ or -, and a key at " +
				"least 16 bytes (32 hex digits)")
		}
		if _, taken := k.byID[id]; taken {
			return Keys{}, fmt.Errorf("two branch keys are called %q: what one of them signed would be refused", id)
		}
		if k.signer == "" {
			k.signer = id
		}
		k.byID[id] = raw
	}
	return k, nil
}

// sign returns a MAC over parts with the first key.
func (k Keys) sign(parts ...string) string { return k.mac(k.signer, parts) }

// made reports whether mac was made over parts with one of the keys.
func (k Keys) made(mac string, parts ...string) bool {
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

// callHeader is the header that carries the MAC of a call that is not a branch's.
const callHeader = "x-call-mac"

// CallHeaders returns the headers of a call that is not a branch's but needs the same proof: method is its full name, and parts are all that the
// receiver acts on, in an order that both know.
func (k Keys) CallHeaders(method string, parts ...string) map[string]string {
	return map[string]string{callHeader: k.sign(callParts(method, parts)...)}
}

// CheckCall checks the MAC of an incoming call, whose context is ctx. It returns ErrForged, which the caller gets as 403, unless the MAC is that
// of CallHeaders(method, parts...) with one of the keys.
func (k Keys) CheckCall(ctx context.Context, method string, parts ...string) error {
	md, _ := metadata.FromIncomingContext(ctx)
	if !k.made(header(md, callHeader), callParts(method, parts)...) {
		return forged(fmt.Errorf("%w: the MAC does not fit %s of %q", ErrForged, method, parts))
	}
	return nil
}

func callParts(method string, parts []string) []string {
	return append([]string{"call", method, strconv.Itoa(len(parts))}, parts...)
}

// header returns the first value of an incoming header, "" when there is none.
func header(md metadata.MD, name string) string {
	if v := md.Get(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

// forged returns err as the 403 that the caller gets.
func forged(err error) error {
	return kerrors.Forbidden("BRANCH_FORGED", err.Error()).WithCause(err)
}
