package demo

import (
	"fmt"
	"regexp"
	"time"
)

// noticed writes how the outage was noticed, and what was the first event to go the other way.
func (p page) noticed(killed time.Time, away change, first passed) {
	since := func(t time.Time) string { return seconds(t.Sub(killed)) }
	p.columns("the broker is gone", "by", "after the kill")
	p.entry("switch", away.From+" → "+away.To, short(away.By), since(away.At))
	p.wrapped(away.Why)
	p.entry("Redis", "first: "+first.Type, "", since(first.At))
	_, _ = fmt.Fprintln(p.w)
}

// meanwhile writes a sign-up and a purchase without the broker.
func (p page) meanwhile(s SignUp, f followedOrder) {
	p.columns("meanwhile", "consumer group", "after the answer")
	s.rows(p)
	p.entry("order", "PAID, 1 × "+silk.SKU, f.Order, "")
	answered := []time.Time{f.CreatedAt, f.PaidAt}
	for i, m := range f.Events {
		for _, c := range m.Consumptions {
			if c.Group == ordersGroup {
				p.entry("notify", m.Type, c.Group, millis(c.ClosedAt.Sub(answered[i])))
			}
		}
	}
	p.entry("notify", "e-mail", ordersGroup, millis(f.Mail.ReceivedAt.Sub(f.PaidAt)))
	p.note(f.Mail.Subject)
	_, _ = fmt.Fprintf(p.w, "\n  %s in %d ms, %s in %d ms: no answer waits for the broker.\n\n", p.in(green, "SIGNED UP"), s.Took.Milliseconds(),
		p.in(green, "PAID"), f.Took.Milliseconds())
}

// back writes how events came to go by the broker again, which was away so many times in ten minutes.
func (p page) back(started time.Time, changes []change, times, byRedis int, most int64) {
	p.columns("the broker is started again", "by", "after its start")
	for _, c := range changes {
		p.entry("switch", c.From+" → "+c.To, short(c.By), seconds(c.At.Sub(started)))
		p.wrapped(c.Why)
	}
	_, _ = fmt.Fprintf(p.w, "\n  %s in %s. Meanwhile %d events went by Redis; at most %d lay there.\n", p.in(green, "BACK"),
		seconds(changes[len(changes)-1].At.Sub(started)), byRedis, most)
	if times > 1 {
		p.line("It was away %d times in ten minutes: each time it is trusted later.", times)
	}
}

// shopped writes how the shopping went.
func (p page) shopped(paid []purchase, killed, back time.Time) {
	without, slowest := 0, time.Duration(0)
	for _, one := range paid {
		if one.At.After(killed) && one.At.Before(back) {
			without++
			slowest = max(slowest, one.Took)
		}
	}
	p.line("All %d orders were PAID, %d of them without the broker, in %d ms at most.", len(paid), without, slowest.Milliseconds())
}

// wrapped writes a text that may be long below the line above.
func (p page) wrapped(text string) {
	const width = whatWidth + columnsWidth
	runes := []rune(text)
	for len(runes) > width {
		end := width
		for end > 0 && runes[end] != ' ' {
			end--
		}
		if end == 0 {
			end = width
		}
		p.note(string(runes[:end]))
		if runes = runes[end:]; runes[0] == ' ' {
			runes = runes[1:]
		}
	}
	p.note(string(runes))
}

var instance = regexp.MustCompile(`^([a-z]+-\d+)-[0-9a-f]+$`)

// short returns an instance's name up to its process id, and an operator's as it is.
func short(by string) string { return instance.ReplaceAllString(by, "$1") }

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
