package alert

import (
	"fmt"
	"time"

	"example.com/fourfold/chassis/mq/failover"
	"example.com/fourfold/chassis/mq/redis"
)

// outage is a time in which events went by Redis.
type outage struct {
	n            int64 // the time at which it began in ms, 0 if that is not known
	began, ended time.Time
	why, by      string
}

// lastOutage returns the last outage in changes, newest first. It has not ended if it goes on, and is zero if there was none.
func lastOutage(s redis.State, changes []failover.Change) (o outage) {
	for _, c := range changes {
		switch {
		case c.From == c.To:
		case c.To == redis.Normal && o.ended.IsZero():
			o.ended = c.At
		case c.From == redis.Normal:
			o.n, o.began, o.why, o.by = c.At.UnixMilli(), c.At, c.Why, c.By
			return o
		}
	}
	if o.ended.IsZero() && s.Mode != redis.Normal {
		o.began, o.why, o.by = s.Since, s.Why, s.By
	}
	return o
}

// lasts says that events go by Redis.
func (o outage) lasts(s redis.State) (summary, detail string) {
	what, ends := "the message broker is away", "It ends by itself when the broker takes events again."
	switch {
	case s.Force == redis.Held:
		what, ends = "an operator keeps them away from the message broker", "It ends only when an operator says so: mode AUTOMATIC."
	case s.Mode != redis.Degraded:
		what, ends = "the message broker is back, and the queues are not empty yet", "It ends by itself when they are."
	}
	took := rounded(s.Now.Sub(o.began))
	summary = fmt.Sprintf("events have gone by Redis for %s: %s", took, what)
	return summary, fmt.Sprintf(`Events have gone by the queues in Redis for %[1]s, since %[2]s: %[3]s.
  began     %[4]s
            by %[5]s
  now       %[6]s since %[7]s: %[8]s
Nothing is lost: orders, payments and sign-ups go on, and what follows them by message comes by the queues.
%[9]s
Which way events go now: GET  /v1/ops/mq
To keep them that way:   POST /v1/ops/mq  {"mode": "DEGRADED", "reason": "…"}
`, took, stamp(o.began), what, o.why, o.by, s.Mode, stamp(s.Since), s.Why, ends)
}

// missed says that events went by Redis, when that is over already.
func (o outage) missed() (summary, detail string) {
	took := rounded(o.ended.Sub(o.began))
	return fmt.Sprintf("events went by Redis for %s", took), fmt.Sprintf(`Events went by the queues in Redis for %s, from %s to %s:
  %s
  by %s
It is over; this mail comes late because it was so short, or because nobody could be told.
What happened since:     GET  /v1/ops/mq
`, took, stamp(o.began), stamp(o.ended), o.why, o.by)
}

// over says that events go by the broker again.
func (o outage) over() (summary, detail string) {
	after := "an outage"
	if !o.began.IsZero() && !o.ended.IsZero() {
		after = rounded(o.ended.Sub(o.began)).String() + " by Redis"
	}
	return "events go by the broker again, after " + after, fmt.Sprintf(`Events go by the message broker again, since %s. It began at %s:
  %s
  by %s
There is nothing to do. What happened meanwhile: GET  /v1/ops/mq
`, stamp(o.ended), stamp(o.began), o.why, o.by)
}

func rounded(d time.Duration) time.Duration {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "a time that Redis has forgotten"
	}
	return t.UTC().Format(time.RFC3339)
}
