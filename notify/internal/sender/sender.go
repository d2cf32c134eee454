// Package sender hands PENDING notifications to a provider.
package sender

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
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
	// Send hands n over. It returns nil if the provider has n, notification.ErrRefused if the provider will never accept it, and
	// notification.ErrUnknown if it was given n and did not say whether it has it. After any error but ErrRefused n is tried again, after one
	// with a notification.LaterError in it not before its time. Send may be called again for a notification that the provider has, which
	// recognizes it by n's id.
	//
	// Send itself bounds the time that a provider may take. When ctx ends, n may become another sender's: if Send has not given n to the provider
	// by then, it does not do so any more, and returns soon.
	Send(ctx context.Context, n notification.Notification) error
}

// Times are the times of a sender, those of rows by the database's clock.
type Times struct {
	// Every is the pause between two looks when nothing is due.
	Every time.Duration `yaml:"every"`
	// Lease is how long it takes until another sender takes over from a dead one. While a provider is thinking, the sender renews the lease.
	Lease time.Duration `yaml:"lease"`
	// Stop is how long a sender that is told to stop waits for the providers' answers.
	Stop time.Duration `yaml:"stop"`
	// LongestPause bounds the pauses after failures, which double from 1 s.
	LongestPause time.Duration `yaml:"longest_pause"`
	// Unanswered is the pause after a provider was given a notification and did not answer; it doubles each time.
	Unanswered time.Duration `yaml:"unanswered"`
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
			"sent, failed (to be tried again), unanswered (to be tried again, later), refused, stale, given_up."))
	if err != nil {
		otel.Handle(err)
	}
	return &Sender{store, channel, provider, times, sends}
}

// Run sends until ctx ends. Then it waits for the answers to what it is sending, for Times.Stop, and leaves what is not answered to another
// sender.
func (s *Sender) Run(ctx context.Context) error {
	// A send goes on for a while when ctx ends, and what came of it is written for a while longer.
	sending, cut := context.WithCancel(context.WithoutCancel(ctx))
	noting, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	defer cut()
	busy := make(chan struct{}, slots)
	free := make(chan struct{}, 1)
	for failures := int32(0); ; {
		wait := s.times.Every
		if n := slots - len(busy); n > 0 {
			taken := time.Now()
			leased, err := s.lease(ctx, n)
			if err != nil && ctx.Err() == nil {
				failures++
				wait = notification.Pause(failures, time.Minute)
				slog.WarnContext(ctx, "look for notifications", "channel", s.channel, "err", err)
			} else {
				failures = 0
			}
			for _, l := range leased {
				busy <- struct{}{}
				go func() {
					s.send(sending, noting, taken, l)
					<-busy
					select {
					case free <- struct{}{}:
					default:
					}
				}()
			}
		}
		select {
		case <-ctx.Done():
			idle(busy, s.times.Stop)
			cut()
			idle(busy, noteAtStop)
			return nil
		case <-free:
		case <-time.After(wait):
		}
	}
}

const (
	// noteWithin bounds how long a result is tried to be written: without it the provider is called again.
	noteWithin = 5 * time.Minute
	// noteAtStop bounds it when the sender is told to stop, behind Times.Stop.
	noteAtStop = 2 * time.Second
)

// idle waits until no slot is busy, for patience at most.
func idle(busy chan struct{}, patience time.Duration) {
	deadline := time.After(patience)
	for range cap(busy) {
		select {
		case busy <- struct{}{}:
			defer func() { <-busy }()
		case <-deadline:
			return
		}
	}
}

// lease takes up to limit notifications. It gives up when less than half of a lease would be left.
func (s *Sender) lease(ctx context.Context, limit int) ([]mysql.Leased, error) {
	ctx, cancel := context.WithTimeout(ctx, s.times.Lease/2)
	defer cancel()
	return s.store.Lease(ctx, s.channel, s.times.Lease, int32(limit))
}

// send hands l, leased at taken or later, to the provider and writes the result. If it dies or fails in between, the lease runs out and l is
// sent again. The provider gets sending as its context, ended when the lease is lost.
func (s *Sender) send(sending, noting context.Context, taken time.Time, l mysql.Leased) {
	ctx, span := otel.Tracer(scope).Start(telemetry.Begin(sending), "send "+string(l.Channel))
	defer span.End()
	telemetry.Note(ctx, slog.String("notification", l.ID))
	ctx, release := s.hold(ctx, noting, taken, l)
	defer release()
	r := result{state: notification.GivenUp(l.Age, s.times.GiveUp, l.Tries)}
	switch r.state {
	case notification.Stale:
		r.outcome, r.why = "stale", "nobody could send it for too long"
	case notification.Failed:
		r.outcome, r.why = "given_up", "tried for too long"
		if l.Unanswered > 0 {
			r.why = fmt.Sprintf("tried for too long; %d times the provider was given it and did not answer: it may have it", l.Unanswered)
		}
	default:
		r = s.result(l, s.provider.Send(ctx, l.Notification))
	}
	s.sends.Add(ctx, 1, metric.WithAttributes(attribute.String("channel", string(s.channel)), attribute.String("outcome", r.outcome)))
	log := slog.With("channel", s.channel, "try", l.Tries, "outcome", r.outcome)
	if r.why != "" {
		log.WarnContext(ctx, "notification not sent", "err", r.why)
	}
	if err := s.note(noting, l, r); err != nil {
		log.WarnContext(ctx, "notification stays leased and will be sent again", "err", err)
	}
}

// result is what came of a try.
type result struct {
	// state is PENDING when the notification is tried again after pause.
	state        notification.State
	outcome, why string
	pause        time.Duration
	unanswered   bool
}

// result returns what a provider's answer means for l.
func (s *Sender) result(l mysql.Leased, err error) result {
	var later notification.LaterError
	r := result{state: notification.Pending, outcome: "failed", pause: notification.Pause(l.Tries, s.times.LongestPause)}
	switch {
	case err == nil:
		return result{state: notification.Sent, outcome: "sent"}
	case errors.Is(err, notification.ErrRefused):
		return result{state: notification.Failed, outcome: "refused", why: reason(err)}
	case errors.Is(err, notification.ErrUnknown):
		r.outcome, r.unanswered, r.pause = "unanswered", true, notification.PauseUnknown(l.Unanswered+1, s.times.Unanswered)
	case errors.As(err, &later):
		r.pause = max(r.pause, later.After)
	}
	r.why = reason(err)
	r.pause = min(r.pause, s.times.GiveUp-l.Age+time.Second) // not longer than until it is given up
	return r
}

// errLease ends a call whose lease is over.
var errLease = errors.New("the lease on the notification was lost: another sender may have it")

// hold renews the lease on l, which was taken at taken or later, until release is called. The context that it returns ends with ctx, and when
// another sender has l or might soon: a third of the lease is left and it was not renewed. Renewals go on behind the end of ctx, until that of
// noting.
func (s *Sender) hold(ctx, noting context.Context, taken time.Time, l mysql.Leased) (held context.Context, release func()) {
	ctx, lose := context.WithCancelCause(ctx)
	safe := s.times.Lease * 2 / 3
	lost := time.AfterFunc(time.Until(taken.Add(safe)), func() { lose(errLease) })
	renewing, stop := context.WithCancel(noting)
	go func() {
		for {
			select {
			case <-renewing.Done():
				return
			case <-time.After(s.times.Lease / 6):
			}
			began := time.Now()
			within, cancel := context.WithTimeout(renewing, s.times.Lease/3)
			ours, err := s.store.Renew(within, l, s.times.Lease)
			cancel()
			switch {
			case err != nil: // again, as long as lost allows it
			case !ours, !lost.Stop():
				lose(errLease)
				return
			default:
				lost.Reset(time.Until(began.Add(safe)))
			}
		}
	}()
	return ctx, func() {
		stop()
		lost.Stop()
		lose(nil)
	}
}

// note writes the result of sending l. It tries again while the database is away: without the result the provider is called again.
func (s *Sender) note(ctx context.Context, l mysql.Leased, r result) error {
	ctx, cancel := context.WithTimeout(ctx, noteWithin)
	defer cancel()
	if r.state == notification.Sent {
		if err := failpoint.Hit(ctx, "notify/sent"); err != nil {
			return err
		}
	}
	for {
		var err error
		if r.state == notification.Pending {
			err = s.store.Postpone(ctx, l, r.pause, r.why, r.unanswered)
		} else {
			err = s.store.Close(ctx, l.ID, r.state, r.why)
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
