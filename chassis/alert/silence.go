package alert

import (
	"cmp"
	"context"
	"time"
)

// silence is what one process sees of something that does not answer.
type silence struct {
	// long is for how long it may be silent.
	long time.Duration

	since time.Time // since when it is, zero while it answers
	told  int64     // as which occurrence that is told: the one that another instance has told, or since
}

// over notes that it answers.
func (s *silence) over() { s.since, s.told = time.Time{}, 0 }

// lasts notes that it does not answer, and returns the occurrence as which operators are told under key, and how long it has been silent; told
// is false before long. Each process has an occurrence of its own, so that one that is answered does not make another one tell anew by clearing.
func (s *silence) lasts(ctx context.Context, a *Alerts, key string) (o Occurrence, lasts time.Duration, told bool, err error) {
	if s.since.IsZero() {
		s.since = time.Now()
	}
	if lasts = time.Since(s.since); lasts < s.long {
		return o, lasts, false, nil
	}
	// Each instance has noticed at another time; what one of them told is the same for all.
	other, raised, err := a.last(ctx, key)
	if err != nil {
		return o, lasts, false, err
	}
	if !raised {
		other = 0
	}
	s.told = cmp.Or(other, s.told, s.since.UnixMilli())
	return a.Of(s.told), lasts, true, nil
}
