// Package password hashes passwords with argon2id and checks them.
package password

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"

	"github.com/alexedwards/argon2id"
	"golang.org/x/text/unicode/norm"
)

// ErrBusy means that so many passwords wait to be hashed that another one would wait for too long. Nothing was done.
var ErrBusy = errors.New("too many passwords are being checked")

// Hasher hashes and checks passwords, a bounded number at a time: each takes 19 MiB and some 20 ms of a core.
type Hasher struct {
	params  *argon2id.Params
	slots   chan struct{}
	waiting atomic.Int64
	most    int64 // that wait
	nobody  string
}

// NewHasher returns a Hasher that works on one password per two cores at a time, so that half the machine is left for others. For each of those
// at most waiting others wait their turn; 0 lets any number wait.
func NewHasher(waiting int) (*Hasher, error) {
	slots := max(1, runtime.GOMAXPROCS(0)/2)
	h := &Hasher{
		// The second choice of OWASP's password storage cheat sheet.
		params: &argon2id.Params{Memory: 19 * 1024, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32},
		slots:  make(chan struct{}, slots),
		most:   int64(waiting) * int64(slots),
	}
	var err error
	h.nobody, err = h.Hash(context.Background(), "nobody's password")
	return h, err
}

// normal returns the form of a password that is hashed, which does not depend on the keyboard that it was typed on: NFKC, as NIST SP 800-63B
// recommends.
func normal(password string) string { return norm.NFKC.String(password) }

// Hash returns what to store of password: parameters, salt and key in one text. It returns ErrBusy when too many wait, and ctx's error when ctx
// ends before its turn.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	if err := h.acquire(ctx); err != nil {
		return "", err
	}
	defer h.release()
	return argon2id.CreateHash(normal(password), h.params)
}

// Match reports whether hash was made from password, and whether it is old: made from the bytes as they were typed, before passwords had a
// normal form, so that it should be made again. An empty hash (of a login that does not exist) matches nothing and takes as long, so that the
// time does not show who is a member. It returns ErrBusy when too many wait, and ctx's error when ctx ends before its turn.
func (h *Hasher) Match(ctx context.Context, password, hash string) (match, old bool, err error) {
	if err := h.acquire(ctx); err != nil {
		return false, false, err
	}
	defer h.release()
	none := hash == ""
	if none {
		hash = h.nobody
	}
	match, err = argon2id.ComparePasswordAndHash(normal(password), hash)
	if err == nil && !match && normal(password) != password {
		match, err = argon2id.ComparePasswordAndHash(password, hash)
		old = match
	}
	return match && !none, old && !none, err
}

func (h *Hasher) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case h.slots <- struct{}{}:
		return nil
	default:
	}
	defer h.waiting.Add(-1)
	if h.waiting.Add(1) > h.most && h.most > 0 {
		return ErrBusy
	}
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *Hasher) release() { <-h.slots }
