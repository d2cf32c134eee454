// Package sender hands PENDING notifications to a provider.
package sender

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"example.com/fourfold/chassis/failpoint"
	"example.com/fourfold/chassis/telemetry"
	"example.com/fourfold/notify/internal/mysql"
	"example.com/fourfold/notify/internal/notification"
)

// scope names this package's spans and metrics.
const scope = "example.com/fourfold/notify/internal/sender"

// Provider accepts notifications of one channel.
type Provider interface {
	// Send hands n over. It returns nil if the provider has n, and notification.ErrRefused if the provider will never accept it; after any other
	// error n is tried again. Send may be called again for a notification that the provider has, which recognizes it by n's id.
	Send(ctx context.Context, n notification.Notification) error
}

// Times are the times of a sender, those of rows by the database's clock.
type Times struct {
	// Every is the pause between two looks when nothing is due.
	Every time.Duration `yaml:"every"`
	// Call bounds taking a lease together with the provider's answer, and then writing the result.
	Call time.Duration `yaml:"call"`
	// Lease is how long a sender keeps a notification to itself, and so how long it takes until another sender takes over from a dead one. It is
	// more than twice Call.
	Lease time.Duration `yaml:"lease"`
	// LongestPause bounds the pauses after failures, which double from 1 s.
	LongestPause time.Duration `yaml:"longest_pause"`
	// GiveUp is how long a notification is tried.
	GiveUp time.Duration `yaml:"give_up"`
}

// Sender works for one channel, so that a provider that hangs delays no other channel. Several may run: each takes leases on what it sends. The
// provider is called outside any transaction. If the process dies between the provider's answer and writing the result, the provider is called
// again with the same id.
type Sender struct {
	store    *mysql.Store
	channel  notification.Channel
	provider Provider
	times    Times
	sends    metric.Int64Counter
}

// slots is how many notifications one sender sends at once.
const slots = 16

// New returns a sender; Run starts it.
func New(store *mysql.Store, channel notification.Channel, provider Provider, times Times) *Sender {
	sends, err := otel.Meter(scope).Int64Counter("notify_sends",
		metric.WithDescription("Notifications handed to providers, by channel and outcome: "+
			"sent, failed (to be tried again), refused, stale, given_up."))
	if err != nil {
		otel.Handle(err)
	}
	return &Sender{store, channel, provider, times, sends}
}

// Run sends until ctx ends. Then it finishes what it is sending.
func (s *Sender) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	busy := make(chan struct{}, slots)
	free := make(chan struct{}, 1)
	for failures := int32(0); ; {
		wait := s.times.Every
		if n := slots - len(busy); n > 0 {
			// A process that wakes up late sends nothing: another sender may have the lease by then.
			until := time.Now().Add(s.times.Call)
			leased, err := s.lease(ctx, until, n)
			if err != nil && ctx.Err() == nil {
				failures++
				wait = notification.Pause(failures, time.Minute)
				slog.WarnContext(ctx, "look for notifications", "channel", s.channel, "err", err)
			} else {
				failures = 0
			}
			for _, l := range leased {
				busy <- struct{}{}
				wg.Go(func() {
					s.send(context.WithoutCancel(ctx), until, l)
					<-busy
					select {
					case free <- struct{}{}:
					default:
					}
				})
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-free:
		case <-time.After(wait):
		}
	}
}

func (s *Sender) lease(ctx context.Context, until time.Time, limit int) ([]mysql.Leased, error) {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	return s.store.Lease(ctx, s.channel, s.times.Lease, int32(limit))
}

// send hands l to the provider by until and writes the result. If it dies or fails in between, the lease runs out and l is sent again.
func (s *Sender) send(ctx context.Context, until time.Time, l mysql.Leased) {
	ctx, span := otel.Tracer(scope).Start(telemetry.Begin(ctx), "send "+string(l.Channel))
	defer span.End()
	telemetry.Note(ctx, slog.String("notification", l.ID))
	state := notification.GivenUp(l.Age, s.times.GiveUp, l.Tries)
	var (
		why, outcome string
		err          error
	)
	switch state {
	case notification.Stale:
		outcome, why = "stale", "nobody could send it for too long"
	case notification.Failed:
		outcome, why = "given_up", "tried for too long"
	default:
		call, cancel := context.WithDeadline(ctx, until)
		err = s.provider.Send(call, l.Notification)
		cancel()
		switch {
		case err == nil:
			state, outcome = notification.Sent, "sent"
		case errors.Is(err, notification.ErrRefused):
			state, outcome, why = notification.Failed, "refused", reason(err)
		default:
			outcome, why = "failed", reason(err)
		}
	}
	s.sends.Add(ctx, 1, metric.WithAttributes(attribute.String("channel", string(s.channel)), attribute.String("outcome", outcome)))
	log := slog.With("channel", s.channel, "try", l.Tries, "outcome", outcome)
	if why != "" {
		log.WarnContext(ctx, "notification not sent", "err", why)
	}
	if err = s.note(ctx, l, state, why); err != nil {
		log.WarnContext(ctx, "notification stays leased and will be sent again", "err", err)
	}
}

// note writes the result of sending l. It tries for as long as a call may take: without the result the provider is called again.
func (s *Sender) note(ctx context.Context, l mysql.Leased, state notification.State, why string) error {
	ctx, cancel := context.WithTimeout(ctx, s.times.Call)
	defer cancel()
	if state == notification.Sent {
		if err := failpoint.Hit(ctx, "notify/sent"); err != nil {
			return err
		}
	}
	for {
		var err error
		if state == notification.Pending {
			err = s.store.Postpone(ctx, l, notification.Pause(l.Tries, s.times.LongestPause), why)
		} else {
			err = s.store.Close(ctx, l.ID, state, why)
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// reason returns err as the column holds it. The provider's text is not trusted.
func reason(err error) string {
	text := strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, err.Error()), "")
	if r := []rune(text); len(r) > 500 {
		text = string(r[:500])
	}
	return text
}
