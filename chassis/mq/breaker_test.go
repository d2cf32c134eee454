package mq

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestBreaker(t *testing.T) {
	t.Parallel()
	var b breaker
	const half, plain = true, false
	away := errors.New("away")
	later := func(topic string) { // moves the last failure a minute back
		c := b.topics[topic]
		c.failed = c.failed.Add(-time.Minute)
		b.topics[topic] = c
	}
	assert.True(t, b.admits("a", time.Hour))
	b.told("a", plain, away)
	assert.False(t, b.admits("a", time.Hour))
	assert.True(t, b.admits("b", time.Hour), "a topic fails alone")
	b.told("b", plain, nil)
	assert.False(t, b.admits("a", time.Hour), "another topic's success says nothing about this one")
	b.told("a", plain, nil)
	assert.True(t, b.admits("a", time.Hour))

	b.told("a", half, away)
	b.told("a", plain, nil)
	assert.False(t, b.admits("a", 30*time.Second), "where half messages fail, plain ones prove nothing")
	later("a")
	assert.True(t, b.admits("a", 30*time.Second), "one tries when nobody has failed for so long")
	assert.False(t, b.admits("a", 30*time.Second), "and the others wait for what comes of it")
	later("a")
	b.told("a", plain, away)
	assert.False(t, b.admits("a", 30*time.Second), "the relay tries already")
	b.told("a", half, nil)
	assert.True(t, b.admits("a", time.Hour))
}
