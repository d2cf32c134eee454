package mq

import (
	"sync"
	"time"
)

// breaker is what a Bus knows about its transport: every send reports its outcome to it, and PublishInTx, which can do without a half message,
// asks it first. It keeps topics apart, because a topic that was never created fails alone.
type breaker struct {
	mu     sync.Mutex
	topics map[string]circuit // those that fail
}

// circuit is a topic whose last send or last half message failed.
type circuit struct {
	failed time.Time // the last failure, or when a caller was let through to try
	half   bool      // a half message failed: only another one shows that they work again
}

// told records how a send to topic ended.
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

// admits reports whether to send a half message to topic: always while that works. After a failure, one caller is let through once there was no
// failure for pause, and its outcome decides for the others. While a relay fails more often than that, no caller is let through.
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
