package rocketmq

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"example.com/fourfold/chassis/backoff"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/rocketmq/remoting"
)

// betweenLooks is how often, at most, the name servers are asked who the master is.
const betweenLooks = 500 * time.Millisecond

// looks is how often they are asked when no send fails: a process that only consumes has no other way to notice.
const looks = 2 * time.Second

// master notices when another broker has become the master. The client asks for its address every 30 s only, and meanwhile sends to the one that
// it knows: producers are made anew when it has another one, and consumers told to ask.
type master struct {
	names *names
	life  context.Context
	watch sync.Once

	mu    sync.Mutex
	last  []string // the masters that were seen last
	asked time.Time
	moved chan struct{} // closed when there is another one
}

// change returns a channel that is closed when another broker than now becomes the master. It asks who is, unless that is known: a client that
// is made after that learns of no earlier one.
func (m *master) change() <-chan struct{} {
	m.mu.Lock()
	known := len(m.last) > 0
	m.mu.Unlock()
	if !known {
		m.look()
	}
	m.watch.Do(func() {
		go func() {
			for backoff.Sleep(m.life, looks); m.life.Err() == nil; backoff.Sleep(m.life, looks) {
				m.look()
			}
		}()
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.moved == nil {
		m.moved = make(chan struct{})
	}
	return m.moved
}

// told has the name servers asked, in the background, when err says that the broker is away. It returns err.
func (m *master) told(err error) error {
	if errors.Is(err, mq.ErrUnavailable) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if time.Since(m.asked) > betweenLooks {
			m.asked = time.Now()
			go m.look()
		}
	}
	return err
}

// look asks the name servers.
func (m *master) look() {
	ctx, cancel := context.WithTimeout(m.life, 3*time.Second)
	defer cancel()
	if now, err := m.names.brokers(ctx, remoting.Masters); err == nil {
		m.saw(now)
	}
}

func (m *master) saw(now []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.last
	m.last = now
	if before == nil || slices.Equal(before, now) {
		return
	}
	slog.Info("messages: another broker has become the master", "before", before, "now", now)
	if m.moved != nil {
		close(m.moved)
		m.moved = nil
	}
}
