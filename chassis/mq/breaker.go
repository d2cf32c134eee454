package mq

import (
	"sync"
	"time"
)

// breaker is what a Bus knows of its transport: everybody who sends tells it the outcome. Who can do without asks it before
// sending; who cannot asks how long to wait. It tells topics apart, because one that nobody made fails alone.
type breaker struct {
	mu     sync.Mutex
	row    int                  // failures since the last success, of any topic
	failed map[string]time.Time // by topic: the last failure, or when somebody was let through to try
}

// told notes how a send to topic ended.
func (b *breaker) told(topic string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		b.row = 0
		delete(b.failed, topic)
		return
	}
	b.row++
	if b.failed == nil {
		b.failed = map[string]time.Time{}
	}
	b.failed[topic] = time.Now()
}

// admits reports whether to send to topic: always while it works. After a failure one caller is let through when nobody has tried for
// pause, and its outcome decides about the others. While a relay tries more often than that, no caller is.
func (b *breaker) admits(topic string, pause time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, failed := b.failed[topic]
	if !failed {
		return true
	}
	if time.Since(at) < pause {
		return false
	}
	b.failed[topic] = time.Now()
	return true
}

// failures returns how many sends have failed since the last that did not.
func (b *breaker) failures() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.row
}
