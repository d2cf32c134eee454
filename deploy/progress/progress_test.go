package progress

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestColor: a terminal has colors unless NO_COLOR is set or the output is read by a program.
func TestColor(t *testing.T) {
	for _, name := range []string{"NO_COLOR", "CI", "TERM"} {
		t.Setenv(name, "")
	}
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = terminal.Close() })
	pipe, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _ = pipe.Close(); _ = w.Close() })

	assert.True(t, Color(terminal))
	assert.False(t, Color(w))
	t.Setenv("NO_COLOR", "1")
	assert.False(t, Color(terminal))
	assert.True(t, Terminal(terminal), "lines are still written in place")
	t.Setenv("CI", "true")
	assert.False(t, Terminal(terminal))
}
