package rpc

import (
	"context"
	"log/slog"
	"math"
	"strconv"
	"sync"
	"time"

	memberv1 "example.com/fourfold/api/member/v1"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/member/internal/mysql"
	"example.com/fourfold/member/internal/pseudonym"
)

// Guesses bounds how many wrong passwords may come for one login. A login that nobody has is counted as any other.
type Guesses struct {
	// Strangers is for all addresses together that the login's owner has not signed in from.
	Strangers mysql.Rate `yaml:"strangers"`
	// Owner is for each address that the owner has signed in from, so that no stranger can use up what the owner needs.
	Owner mysql.Rate `yaml:"owner"`
}

// guesses counts them. Logins and addresses stand in the database and in the log as pseudonyms only.
type guesses struct {
	store *mysql.Store
	names pseudonym.Names
	cfg   Guesses

	mu     sync.Mutex
	logged map[string]time.Time // when it was last said that a login is slowed
}

func newGuesses(store *mysql.Store, names pseudonym.Names, cfg Guesses) *guesses {
	return &guesses{store: store, names: names, cfg: cfg, logged: map[string]time.Time{}}
}

// guess is one password for a login, counted as a wrong one until right is called.
type guess struct {
	of              *guesses
	login, memberID string
	// address is the pseudonym of where the guess comes from, "" when that is not known.
	address string
	known   bool
	subject string
	rate    mysql.Rate
}

// take counts a guess for login, which is memberID's or, when that is empty, nobody's. When there were too many it returns a 429 with the seconds
// to wait in metadata.retry_after.
func (s *guesses) take(ctx context.Context, login, memberID string) (*guess, error) {
	g := &guess{of: s, login: s.names.Of("login", login), memberID: memberID, rate: s.cfg.Strangers}
	g.subject = s.names.Of("guesses", login)
	if address := service.Address(ctx); address != "" {
		g.address = s.names.Of("address", memberID, address)
		var err error
		if g.known, err = s.store.KnowsAddress(ctx, memberID, g.address); err != nil {
			return nil, err
		}
	}
	if g.known {
		g.rate = s.cfg.Owner
		g.subject = s.names.Of("guesses", login, g.address)
	}
	wait, err := s.store.Take(ctx, g.subject, g.rate)
	if err != nil {
		return nil, err
	}
	if wait == 0 {
		return g, nil
	}
	if s.news(g.subject) {
		g.log(ctx, "sign-ins of a login are slowed: too many wrong passwords", slog.Duration("for", wait))
	}
	seconds := strconv.Itoa(int(math.Ceil(wait.Seconds())))
	return nil, memberv1.ErrorTooManyGuesses("too many wrong passwords for this login: try again in %s s", seconds).
		WithMetadata(map[string]string{"retry_after": seconds})
}

// wrong logs a guess that was wrong.
func (g *guess) wrong(ctx context.Context) { g.log(ctx, "sign-in failed") }

// undone takes the guess back: nobody looked at the password.
func (g *guess) undone(ctx context.Context) error { return g.of.store.GiveBack(ctx, g.subject, g.rate) }

// right takes the guess back, and remembers where the owner is.
func (g *guess) right(ctx context.Context) error {
	if err := g.undone(ctx); err != nil {
		return err
	}
	if g.address == "" {
		return nil
	}
	return g.of.store.SawAddress(ctx, g.memberID, g.address)
}

// log names the login by the beginning of its pseudonym. The address is what an operator would block.
func (g *guess) log(ctx context.Context, what string, more ...any) {
	slog.InfoContext(ctx, what, append(more, "login", g.login[:12], "address", service.Address(ctx), "known_address", g.known)...)
}

// news reports whether it was not said of subject within the last minute: a flood of guesses must not become a flood of lines.
func (s *guesses) news(subject string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if len(s.logged) > 1000 {
		clear(s.logged)
	}
	if now.Sub(s.logged[subject]) < time.Minute {
		return false
	}
	s.logged[subject] = now
	return true
}
