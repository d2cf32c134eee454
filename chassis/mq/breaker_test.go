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
	away := errors.New("away")
	assert.True(t, b.admits("a", time.Hour))
	b.told("a", away)
	b.told("a", away)
	assert.False(t, b.admits("a", time.Hour))
	assert.True(t, b.admits("b", time.Hour), "a topic fails alone")
	assert.Equal(t, 2, b.failures())

	b.failed["a"] = time.Now().Add(-time.Minute)
	assert.True(t, b.admits("a", time.Second), "one tries when nobody has for so long")
	assert.False(t, b.admits("a", time.Second), "and the others wait for what comes of it")
	b.told("b", nil)
	assert.Zero(t, b.failures())
	assert.False(t, b.admits("a", time.Hour), "another topic's success says nothing about this one")
	b.told("a", nil)
	assert.True(t, b.admits("a", time.Hour))
}
