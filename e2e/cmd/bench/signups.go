package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/e2e/internal/api"
)

// signUps are sign-ups at the gateway, and what follows them by message: points at credit, and an SMS and an e-mail that notify's provider has.
type signUps struct {
	shop *shop

	mu sync.Mutex
	// all have been made, those since next from the number window on.
	all    []*newcomer
	window int
}

// newcomer is a person who signs up.
type newcomer struct {
	id, phone, email string
	began, ended     time.Time
}

// one signs somebody up.
func (s *signUps) one(ctx context.Context, _, _ int) error {
	s.mu.Lock()
	n := &newcomer{email: strings.ToLower(rand.Text()) + "@example.com", phone: fmt.Sprintf("+8619%09d", len(s.all))}
	s.all = append(s.all, n)
	s.mu.Unlock()
	var reply struct {
		ID string `json:"member_id"`
	}
	n.began = time.Now()
	err := api.Stranger(s.shop.stack.Gateway()).Call(ctx, http.MethodPost, "/v1/members",
		map[string]string{"phone": n.phone, "email": n.email, "name": "Bench", "password": rand.Text()}, &reply)
	n.id = reply.ID
	return err
}

// next begins a window.
func (s *signUps) next() { s.window = len(s.all) }

// times returns how long each sign-up of the window took until its last follower had taken effect, ascending.
func (s *signUps) times() (all []time.Duration) {
	for _, n := range s.all[s.window:] {
		all = append(all, n.ended.Sub(n.began))
	}
	slices.Sort(all)
	return all
}

// wait waits until all that follows the sign-ups of the window has taken effect.
func (s *signUps) wait(ctx context.Context) error {
	some := s.all[s.window:]
	for over := time.Now().Add(time.Minute); ; {
		n, err := s.followed(ctx, some)
		switch {
		case err != nil || n == len(some):
			return err
		case time.Now().After(over):
			return fmt.Errorf("of %d sign-ups %d are followed after a minute", len(some), n)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// followed returns how many of some have points, SMS and e-mail, notes when the last of these came, and returns an error when one came twice.
func (s *signUps) followed(ctx context.Context, some []*newcomer) (n int, err error) {
	for part := range slices.Chunk(some, 1000) {
		var ids, recipients []string
		for _, n := range part {
			ids, recipients = append(ids, n.id), append(recipients, n.phone, n.email)
		}
		in, args := database.In(ids)
		points, err := came(ctx, s.shop.root, fmt.Sprintf(`SELECT e.member_id, UNIX_TIMESTAMP(e.created_at) FROM shop_credit.credit_entry e
			JOIN shop_credit.credit_account a ON a.member_id = e.member_id AND a.credit = %d WHERE e.points = %[1]d AND e.member_id IN (%s)`, welcome, in), args)
		if err != nil {
			return 0, err
		}
		in, args = database.In(recipients)
		told, err := came(ctx, s.shop.root, `SELECT recipient, UNIX_TIMESTAMP(received_at) FROM shop_notify.inbox WHERE recipient IN (`+in+")", args)
		if err != nil {
			return 0, err
		}
		for _, one := range part {
			ends := []time.Time{points[one.id], told[one.phone], told[one.email]}
			if !slices.ContainsFunc(ends, time.Time.IsZero) {
				one.ended = slices.MaxFunc(ends, time.Time.Compare)
				n++
			}
		}
	}
	return n, nil
}

// came returns when each of what a query lists, with the second, came, and an error when one came twice.
func came(ctx context.Context, db *sql.DB, query string, args []any) (map[string]time.Time, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	at := map[string]time.Time{}
	for rows.Next() {
		var what string
		var seconds float64
		if err := rows.Scan(&what, &seconds); err != nil {
			return nil, err
		}
		if !at[what].IsZero() {
			return nil, fmt.Errorf("the sign-up of %s was followed twice", what)
		}
		at[what] = time.UnixMilli(int64(seconds * 1000))
	}
	return at, rows.Err()
}
