package demo

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// silk is what is bought during an outage: the numbers of the demo's own product stay those of the documentation.
var silk = catalogue[4]

// shopping is a member who buys one piece after another.
type shopping struct {
	mu     sync.Mutex
	paid   []purchase
	err    error
	closed chan struct{}
	ended  chan struct{}
}

// purchase is a paid order, and Took how long it took from the order to PAID.
type purchase struct {
	Order string
	At    time.Time
	Took  time.Duration
}

// shop lets the member c buy until end is called.
func (d *Demo) shop(ctx context.Context, c client) *shopping {
	s := &shopping{closed: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		for {
			start := time.Now()
			o, err := d.orderBy(ctx, c, silk, 1, rand.Text())
			if err == nil {
				o, err = c.pay(ctx, o.ID)
			}
			s.mu.Lock()
			if s.err = err; err == nil {
				s.paid = append(s.paid, purchase{o.ID, time.Now(), time.Since(start)})
			}
			s.mu.Unlock()
			if err != nil {
				return
			}
			select {
			case <-s.closed:
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	return s
}

// soFar returns what was bought, and the error that ended it.
func (s *shopping) soFar() ([]purchase, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, fmt.Errorf("the shopping failed: %w", s.err)
	}
	return slices.Clone(s.paid), nil
}

// more waits until n more orders are paid.
func (s *shopping) more(ctx context.Context, n int) error {
	before, err := s.soFar()
	if err != nil {
		return err
	}
	return within(ctx, time.Minute, func() (bool, error) {
		paid, err := s.soFar()
		return len(paid) >= len(before)+n, err
	})
}

// end lets the purchase under way come to its end and returns what was bought. It may be called once.
func (s *shopping) end() ([]purchase, error) {
	close(s.closed)
	<-s.ended
	return s.soFar()
}

// followedOrder is one purchase in the time without the broker, and what followed it by message.
type followedOrder struct {
	Order     string
	CreatedAt time.Time // when the order was answered
	PaidAt    time.Time // when PAID was
	Took      time.Duration
	// Events are what notify had of it, oldest first, and Mail is what it sent.
	Events []message
	Mail   mail
}

// ordersGroup follows an order's events.
const ordersGroup = "notify-orders"

// meanwhile signs up a member, who then buys, and waits for what follows both.
func (d *Demo) meanwhile(ctx context.Context) (s SignUp, f followedOrder, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s, c, err := d.signUp(ctx)
	if err != nil {
		return s, f, err
	}
	o, err := d.orderBy(ctx, c, silk, 1, rand.Text())
	if f.Order, f.CreatedAt = o.ID, time.Now(); err != nil {
		return s, f, err
	}
	_, err = c.pay(ctx, o.ID)
	f.PaidAt = time.Now()
	if f.Took = f.PaidAt.Sub(f.CreatedAt); err != nil {
		return s, f, err
	}
	for {
		missing, err := d.orderFollowed(ctx, s.Email, &f)
		if err != nil || missing == "" {
			return s, f, err
		}
		if pause(ctx, 200*time.Millisecond); ctx.Err() != nil {
			return s, f, fmt.Errorf("order %s is PAID, and this did not follow: %s: %w (`make logs SERVICE=notify` shows notify's)",
				f.Order, missing, ctx.Err())
		}
	}
}

// orderFollowed reads into f what has followed so far, and returns what is still missing.
func (d *Demo) orderFollowed(ctx context.Context, to string, f *followedOrder) (missing string, err error) {
	messages, err := d.messages(ctx, "order_id", f.Order)
	if err != nil {
		return "", err
	}
	f.Events = nil
	done := func(c consumption) bool { return c.Group == ordersGroup && c.State == "DONE" }
	for _, kind := range []string{"order.created", "order.paid"} {
		i := slices.IndexFunc(messages, func(m message) bool { return m.Type == kind && slices.ContainsFunc(m.Consumptions, done) })
		if i < 0 {
			return kind, nil
		}
		f.Events = append(f.Events, messages[i])
	}
	inbox, err := d.inbox(ctx, to)
	i := slices.IndexFunc(inbox, func(m mail) bool { return strings.Contains(m.Subject, f.Order) })
	if err != nil || i < 0 {
		return "the e-mail", err
	}
	f.Mail = inbox[i]
	return "", nil
}
