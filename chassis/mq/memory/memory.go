// Package memory is a transport within one process, without a disk and without half messages. It is for tests, and shows how little a transport
// has to promise. It passes the laws of package mqlaws.
package memory

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.com/fourfold/chassis/mq"
)

// Transport keeps everything that was ever sent.
type Transport struct {
	mu     sync.Mutex
	topics map[string]*topic
}

var _ mq.History = (*Transport)(nil)

// New returns a transport that makes a topic when it is first named.
func New() *Transport { return &Transport{topics: map[string]*topic{}} }

// topic is a log of messages, and what each group has settled.
type topic struct {
	log    []message
	groups map[string]*group
	grown  chan struct{} // closed and made anew when waiting listeners should look again
}

type message struct {
	mq.Delivery
	at, due time.Time
}

// group is what one group has settled, whichever instance took it.
type group struct {
	settled map[int]bool
	busy    map[string]bool // subjects that are being taken
}

func (t *Transport) topic(name string) *topic {
	if t.topics[name] == nil {
		t.topics[name] = &topic{groups: map[string]*group{}, grown: make(chan struct{})}
	}
	return t.topics[name]
}

func (tp *topic) wake() { close(tp.grown); tp.grown = make(chan struct{}) }

// Send keeps e as JSON, as a broker would.
func (t *Transport) Send(ctx context.Context, name string, e mq.Event, at time.Time) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", mq.ErrUnavailable, ctx.Err())
	}
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("%w: %w", mq.ErrRefused, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	tp := t.topic(name)
	tp.log = append(tp.log, message{mq.Received(strconv.Itoa(len(tp.log)), body), time.Now(), at})
	tp.wake()
	return nil
}

// Listen calls take for what the group has not settled, the oldest of each subject first.
func (t *Transport) Listen(ctx context.Context, s mq.Subscription, take func(mq.Delivery) bool) error {
	if _, err := s.Wants(mq.Event{}); err != nil {
		return fmt.Errorf("mq: group %s: %w", s.Group, err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, max(s.Workers, 1))
	for ctx.Err() == nil {
		slots <- struct{}{}
		i, d, grown := t.next(s)
		if i < 0 {
			<-slots
			select {
			case <-ctx.Done():
			case <-grown:
			case <-time.After(20 * time.Millisecond): // something may be due by now
			}
			continue
		}
		wg.Go(func() {
			t.done(s, i, d, take(d))
			<-slots
		})
	}
	return nil
}

// next marks the next message of s as being taken and returns it. When there is none, it returns -1 and a channel that is closed when there may
// be one.
func (t *Transport) next(s mq.Subscription) (int, mq.Delivery, chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tp := t.topic(s.Topic)
	g := tp.groups[s.Group]
	if g == nil {
		g = &group{settled: map[int]bool{}, busy: map[string]bool{}}
		tp.groups[s.Group] = g
	}
	for i, m := range tp.log {
		wanted, _ := s.Wants(m.Event) // no error: Listen has tried the filter
		if g.settled[i] || m.due.After(time.Now()) || g.busy[key(i, m.Delivery)] || m.Broken == nil && !wanted {
			continue
		}
		g.busy[key(i, m.Delivery)] = true
		return i, m.Delivery, nil
	}
	return -1, mq.Delivery{}, tp.grown
}

func (t *Transport) done(s mq.Subscription, i int, d mq.Delivery, settled bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tp := t.topic(s.Topic)
	g := tp.groups[s.Group]
	delete(g.busy, key(i, d))
	g.settled[i] = settled
	tp.wake()
}

// key returns the same for messages that must not overtake each other.
func key(i int, d mq.Delivery) string {
	if d.Event.Subject == "" {
		return "\x00" + strconv.Itoa(i)
	}
	return d.Event.Subject
}

// Tail follows the log from its end.
func (t *Transport) Tail(ctx context.Context, v mq.View, f func(context.Context, mq.Event)) error {
	next := -1
	for ctx.Err() == nil {
		t.mu.Lock()
		tp := t.topic(v.Topic)
		if next < 0 {
			next = len(tp.log)
		}
		come, grown := tp.log[next:len(tp.log):len(tp.log)], tp.grown
		next = len(tp.log)
		t.mu.Unlock()
		for _, m := range come {
			if m.Broken == nil && m.Event.OneOf(v.Types) && ctx.Err() == nil {
				f(ctx, m.Event)
			}
		}
		if len(come) == 0 {
			select {
			case <-ctx.Done():
			case <-grown:
			}
		}
	}
	return nil
}

// Replay reads the log. A position is the topic and an index there.
func (t *Transport) Replay(ctx context.Context, name string, from, to time.Time, position string, f func(mq.Delivery) error) (string, error) {
	first := 0
	if position != "" {
		var err error
		index, ours := strings.CutPrefix(position, name+"/")
		if first, err = strconv.Atoi(index); err != nil || first < 0 || !ours {
			return position, fmt.Errorf("%w: %q is no position of topic %s", mq.ErrRefused, position, name)
		}
	}
	t.mu.Lock()
	log := slices.Clone(t.topic(name).log)
	t.mu.Unlock()
	for i := first; i < len(log); i++ {
		if log[i].at.Before(from) || log[i].at.After(to) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return name + "/" + strconv.Itoa(i), err
		}
		if err := f(log[i].Delivery); err != nil {
			return name + "/" + strconv.Itoa(i), err
		}
	}
	return "", nil
}
