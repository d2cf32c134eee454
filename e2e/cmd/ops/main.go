// Command ops makes a running stack deliver or send messages once more, part by part until all is done, shows and mends what holds messages up,
// and settles payments and refunds that the coordinator will not end. What had its effect has none the second time, so each command may be
// repeated, even after it was interrupted.
//
//	ops replay -topic member-events -group notify-email -from 2h [-to 1h]
//	ops resend -service order -since 2h [-until 1h] [-topic order-events]
//	ops audits
//	ops mq [-mode DEGRADED, NORMAL or AUTOMATIC -why "the broker moves"]
//	ops refused [-discard order-17]
//	ops position -subject 01a203e4-… [-group notify-orders] [-source /order -generation … -to 3]
//	ops settle -order 01a203e4-70dd-7b2b-a125-45961a4e32a2 [-as confirm, cancel or try]
//
// Times are RFC 3339, or durations before now. It exits with 0 when all is done, 1 when the stack refuses or is away, and 2 when the command
// line is wrong.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"time"

	"example.com/fourfold/chassis/backoff"
	"example.com/fourfold/e2e/internal/api"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	j, demo, err := parse(os.Args[1:], time.Now())
	if err != nil {
		fmt.Fprintln(os.Stderr, "ops:", err)
		os.Exit(2)
	}
	if err := run(ctx, demo, j, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "ops: %v\n", err)
		os.Exit(1)
	}
}

// job is work that is done part by part. It keeps from each answer how to continue.
type job interface {
	// missing returns what the command line lacks, "" when it is complete.
	missing() string
	// title says what will be done.
	title() string
	// part does the next part and reports whether there are more.
	part(ctx context.Context, c *api.Client) (more bool, err error)
	// progress says how far the job has come.
	progress() string
	// after says what is to be done next; empty when nothing is.
	after() string
}

const usage = `say what to do, such as
  make replay TOPIC=member-events GROUP=notify-email FROM=2h    offers a topic to a group once more; TO=1h ends it before now
  make resend SERVICE=order SINCE=2h                            sends again what order sent; TOPIC=order-events only that topic's
  make audits                                                   lists what each group has of what was sent, and what was sent again
  make mq                                                       shows which way events go; MODE=DEGRADED WHY="the broker moves" decides
  make refused                                                  lists the events that the broker refuses; DISCARD=order-17 gives one up
  make position SUBJECT=01a203e4-…                              shows how far groups are with it; GROUP=… SOURCE=/order TO=3 moves one
  make settle ORDER=01a203e4-…                                  shows where its payment or refund stands; AS=confirm ends it, AS=cancel, AS=try
Times are RFC 3339, such as 2026-01-31T08:00:00Z, or how long ago, such as 90m.`

// parse parses the command line. A time that is a duration means that long before now.
func parse(args []string, now time.Time) (j job, demo string, err error) {
	if len(args) == 0 {
		return nil, "", errors.New(usage)
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&demo, "demo", "var/demo.json", "what `make up` wrote about the stack")
	moment := func(name, help string, to *time.Time) {
		flags.Func(name, help, func(text string) (err error) {
			*to, err = before(now, text)
			return err
		})
	}
	switch args[0] {
	case "replay":
		r := &replay{}
		j = r
		flags.StringVar(&r.Topic, "topic", "", "the group's")
		flags.StringVar(&r.Group, "group", "", "who gets it")
		moment("from", "since when", &r.From)
		moment("to", "until when", &r.To)
	case "resend":
		r := &resend{}
		j = r
		flags.StringVar(&r.Service, "service", "", "who sent it")
		flags.StringVar(&r.Topic, "topic", "", "all when empty")
		moment("since", "since when", &r.Since)
		moment("until", "until when", &r.Until)
	case "audits":
		j = &audits{}
	case "mq":
		m := &mode{}
		j = m
		flags.StringVar(&m.Reason, "why", "", "for what reason")
		flags.Func("mode", "which way events are to go; only shown when empty", m.force)
	case "refused":
		r := &refused{}
		j = r
		flags.StringVar(&r.discard, "discard", "", "which to give up; none when empty")
	case "position":
		p := &position{}
		j = p
		flags.StringVar(&p.Subject, "subject", "", "what the events are about")
		flags.StringVar(&p.Group, "group", "", "whose; all when empty")
		flags.StringVar(&p.Source, "source", "", "of which events; all when empty")
		flags.StringVar(&p.Generation, "generation", "", "of which generation")
		flags.Func("to", "the number to go on after; only shown when empty", p.to)
	case "settle":
		s := &settle{}
		j = s
		flags.StringVar(&s.order, "order", "", "whose payment or refund")
		flags.Func("as", "what to do; nothing when empty", s.as)
	default:
		return nil, "", fmt.Errorf("there is no %s: %s", args[0], usage)
	}
	if err := flags.Parse(args[1:]); err != nil {
		return nil, "", fmt.Errorf("%s: %w: %s", args[0], err, usage)
	}
	if name := j.missing(); name != "" {
		return nil, "", fmt.Errorf("%s: %s is missing: %s", args[0], name, usage)
	}
	return j, demo, nil
}

// before parses a time, or a duration before now. An empty text is the zero time.
func before(now time.Time, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d).UTC().Truncate(time.Millisecond), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, errors.New("neither RFC 3339 nor how long ago")
	}
	return at, nil
}

// attempts is how often a part is tried while something is away, with pause in between unless the answer says how long.
const (
	attempts = 10
	pause    = 2 * time.Second
)

// run does all parts of j at the stack that the file demo describes, and writes one line for each.
func run(ctx context.Context, demo string, j job, w io.Writer) error {
	c, err := api.Operator(ctx, demo)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(w, "  %s\n", j.title())
	for failed, more := 0, true; more; {
		more, err = j.part(ctx, c)
		refused := new(api.Refusal)
		switch {
		case err == nil:
			failed = 0
			_, _ = fmt.Fprintf(w, "  %s\n", j.progress())
		case errors.As(err, &refused) && refused.Code == http.StatusServiceUnavailable && failed < attempts:
			failed++
			more = true
			_, _ = fmt.Fprintf(w, "  %s; once more\n", refused.Message)
			backoff.Sleep(ctx, cmp.Or(refused.RetryAfter, pause))
		default:
			return err
		}
	}
	_, _ = fmt.Fprintln(w, "  Done.")
	if next := j.after(); next != "" {
		_, _ = fmt.Fprintf(w, "  %s\n", next)
	}
	return nil
}
