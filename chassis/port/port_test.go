package port_test

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/port"
)

// TestTake: the ports are below those of outgoing connections, can be listened on, and none is chosen twice.
func TestTake(t *testing.T) {
	t.Parallel()
	taken := map[int]bool{}
	for range 200 {
		c, err := port.Take(-2)
		require.NoError(t, err)
		t.Cleanup(c.Close)
		for _, p := range []int{c.Port, c.Port - 2} {
			assert.Less(t, p, port.Ephemeral)
			assert.False(t, taken[p], "%d was given twice", p)
			taken[p] = true
			l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(p))
			require.NoError(t, err)
			require.NoError(t, l.Close())
		}
	}
}

// TestTaken: a port on which somebody listens is not chosen, on whichever address.
func TestTaken(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"127.0.0.1", ""} {
		l, err := net.Listen("tcp", host+":0")
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		require.Error(t, port.Free(l.Addr().(*net.TCPAddr).Port))
		require.NoError(t, l.Close())
		require.NoError(t, port.Free(l.Addr().(*net.TCPAddr).Port))
	}
}

// TestOtherProcess: a claim holds against other processes until it is closed. It does not run in parallel with TestTake, which might take the
// port.
func TestOtherProcess(t *testing.T) {
	if at := os.Getenv("CLAIMED"); at != "" { // the other process
		_, err := net.Listen("unix", at)
		require.Error(t, err)
		return
	}
	c, err := port.Take()
	require.NoError(t, err)
	ask := func() error {
		cmd := exec.Command(os.Args[0], "-test.run", "TestOtherProcess$")
		cmd.Env = append(os.Environ(), "CLAIMED=@fourfold-port-"+strings.TrimPrefix(c.Addr(), "127.0.0.1:"))
		return cmd.Run()
	}
	require.NoError(t, ask())
	c.Close()
	c.Close()
	require.Error(t, ask(), "given back")
}
