package redistest_test

import (
	"bufio"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/redistest"
)

// dial returns a way to send commands over one connection: it waits for the answer for so long.
func dial(t *testing.T, s *redistest.Server) func(command string, patience time.Duration) (string, error) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	answers := bufio.NewReader(conn)
	return func(command string, patience time.Duration) (string, error) {
		_ = conn.SetDeadline(time.Now().Add(patience))
		if command != "" {
			if _, err := conn.Write([]byte(command + "\r\n")); err != nil {
				return "", err
			}
		}
		answer, err := answers.ReadString('\n')
		return strings.TrimSpace(answer), err
	}
}

// TestRestart: a server with an append-only file has after a kill what it had before, and one without is empty.
func TestRestart(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"without persistence": {nil, ":0"},
		"appendonly":          {[]string{"--appendonly", "yes", "--appendfsync", "always"}, ":1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, test.args...)
			for range 2 {
				answer, err := dial(t, s)("SET kept 1", 5*time.Second)
				require.NoError(t, err)
				require.Equal(t, "+OK", answer)
				s.Restart(t) // while it runs
				s.Stop()
				s.Stop()
				s.Restart(t)
				answer, err = dial(t, s)("EXISTS kept", 5*time.Second)
				require.NoError(t, err)
				assert.Equal(t, test.want, answer)
			}
		})
	}
}

// TestFreeze: a frozen server keeps its connections and answers when it is thawed. It can be killed and started again, and ends with the test.
func TestFreeze(t *testing.T) {
	t.Parallel()
	var s *redistest.Server
	t.Run("test", func(t *testing.T) {
		s = redistest.Start(t)
		ask := dial(t, s)
		s.Freeze(t)
		_, err := ask("PING", 100*time.Millisecond)
		var timeout net.Error
		require.ErrorAs(t, err, &timeout)
		assert.True(t, timeout.Timeout(), "silent, not gone: %v", err)
		s.Thaw(t)
		answer, err := ask("", 5*time.Second)
		require.NoError(t, err)
		assert.Equal(t, "+PONG", answer, "what was asked meanwhile")

		s.Freeze(t)
		s.Restart(t)
		_, err = dial(t, s)("PING", 5*time.Second)
		require.NoError(t, err)
		s.Freeze(t)
	})
	_, err := net.Dial("tcp", s.Addr)
	require.Error(t, err, "it has ended with its test")
}
