package pseudonym_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/fourfold/member/internal/pseudonym"
)

func TestOf(t *testing.T) {
	t.Parallel()
	names := pseudonym.New([]byte("key"))
	seen := map[string]bool{}
	for _, parts := range [][]string{nil, {""}, {"a"}, {"a", ""}, {"", "a"}, {"ab", "c"}, {"a", "bc"}, {"login", "ann@example.com"}} {
		name := names.Of(parts...)
		assert.Regexp(t, `^[\w-]{43}$`, name)
		assert.False(t, seen[name], "%q", parts)
		seen[name] = true
		assert.Equal(t, name, names.Of(parts...))
		assert.NotEqual(t, name, pseudonym.New([]byte("another")).Of(parts...))
	}
}
