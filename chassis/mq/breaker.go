package mq

import (
	"sync"
	"time"
)

// breaker is what a Bus knows of its transport: whoever sends tells it the outcome, and who can do without a half message asks it
// first. It tells topics apart, because one that nobody made fails alone.
type breaker struct {
	mu     sync.Mutex
	topics map[string]circuit // those that fail
}

// circuit is a topic whose last send failed, or whose last half message did.
type circuit struct {
	failed time.Time // the last failure, or when somebody was let through to try
	half   bool      // a half message failed: only another one shows that they work again
}

// told notes how a send to topic ended.
func (b *breaker) told(topic string, half bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.topics[topic]
	switch {
	case err != nil:
		if b.topics == nil {
			b.topics = map[string]circuit{}
		}
		b.topics[topic] = circuit{time.Now(), half || c.half}
	case half || !c.half:
		delete(b.topics, topic)
	}
}

// admits reports whether to send a half message to topic: always while that works. After a failure one caller is let through when
// nobody has failed for pause, and what comes of it decides about the others. While a relay fails more often than that, no caller is.
func (b *breaker) admits(topic string, pause time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, fails := b.topics[topic]
	if !fails {
		return true
	}
	if time.Since(c.failed) < pause {
		return false
	}
	c.failed = time.Now()
	b.topics[topic] = c
	return true
}
