package tcc

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	kerrors "github.com/go-kratos/kratos/v2/errors"
)

// macHeader carries Sign's result in every call of a branch.
const macHeader = "x-branch-mac"

// Keys sign and check the MAC that every call of a branch carries, so that only who holds a key (order, which opens the
// transaction) can make a participant act. There is no expiry: a retry may come hours later.
type Keys struct {
	signer string
	byID   map[string][]byte
}

// ParseKeys reads "id:hex,id:hex". The first key signs; the others are still accepted, for transactions opened before
// the keys were changed. A key has at least 16 bytes.
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

// Sign gives "key id.hex MAC" over (key id, gid, order id).
func (k Keys) Sign(gid, orderID string) string {
	return k.signer + "." + hex.EncodeToString(k.mac(k.signer, gid, orderID))
}

// Headers are the branch headers of transaction gid of orderID.
func (k Keys) Headers(gid, orderID string) map[string]string {
	return map[string]string{macHeader: k.Sign(gid, orderID)}
}

// Check fails with ErrForged when mac is not Sign's for (gid, orderID) under one of the keys.
func (k Keys) Check(mac, gid, orderID string) error {
	id, sum, _ := strings.Cut(mac, ".")
	raw, err := hex.DecodeString(sum)
	if _, known := k.byID[id]; !known || err != nil || !hmac.Equal(raw, k.mac(id, gid, orderID)) {
		return fmt.Errorf("%w: the branch's MAC does not fit gid %q and order %q", ErrForged, gid, orderID)
	}
	return nil
}

// CheckContext checks the MAC that came with a call which is no branch's but needs the same proof: the sender adds
// Headers(id, orderID) to its metadata, id being unique to the call, such as an event's. It fails with ErrForged, which the
// caller reads as 403.
func (k Keys) CheckContext(ctx context.Context, id, orderID string) error {
	if err := k.Check(callFrom(ctx).mac, id, orderID); err != nil {
		return forged(err)
	}
	return nil
}

// forged is what the caller reads.
func forged(err error) error {
	return kerrors.Forbidden("BRANCH_FORGED", err.Error()).WithCause(err)
}

func (k Keys) mac(id, gid, orderID string) []byte {
	h := hmac.New(sha256.New, k.byID[id])
	for _, part := range []string{id, gid, orderID} {
		// The length in front keeps ("a","bc") and ("ab","c") apart.
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return h.Sum(nil)
}
