// Package password hashes passwords with argon2id and checks them.
package password

import (
	"context"
	"runtime"

	"github.com/alexedwards/argon2id"
)

// Hasher hashes and checks passwords, a bounded number at a time: each takes 19 MiB and some 20 ms of a core.
type Hasher struct {
	params *argon2id.Params
	slots  chan struct{}
	nobody string
}

// NewHasher returns a Hasher that works on at most two passwords per core at a time; the others wait.
func NewHasher() (*Hasher, error) {
	h := &Hasher{
		// The second choice of OWASP's password storage cheat sheet.
		params: &argon2id.Params{Memory: 19 * 1024, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32},
		slots:  make(chan struct{}, 2*runtime.GOMAXPROCS(0)),
	}
	var err error
	h.nobody, err = h.Hash(context.Background(), "nobody's password")
	return h, err
}

// Hash returns what to store of password: parameters, salt and key in one text. It returns ctx's error when ctx ends before its turn.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	if err := h.acquire(ctx); err != nil {
		return "", err
	}
	defer h.release()
	return argon2id.CreateHash(password, h.params)
}

// Match reports whether hash was made from password. An empty hash (of a login that does not exist) matches nothing and takes as long, so that
// the time does not show who is a member. It returns ctx's error when ctx ends before its turn.
func (h *Hasher) Match(ctx context.Context, password, hash string) (bool, error) {
	if err := h.acquire(ctx); err != nil {
		return false, err
	}
	defer h.release()
	if hash == "" {
		_, err := argon2id.ComparePasswordAndHash(password, h.nobody)
		return false, err
	}
	return argon2id.ComparePasswordAndHash(password, hash)
}

func (h *Hasher) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *Hasher) release() { <-h.slots }
