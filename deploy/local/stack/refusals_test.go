package stack

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/deploy/machine"
	"example.com/fourfold/deploy/rocketmq/smalldisk"
)

// TestRefusals: the error says in one sentence what the machine lacks, with the remedy, and nothing is left running.
func TestRefusals(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	_, taken, _ := net.SplitHostPort(l.Addr().String())

	for name, test := range map[string]struct {
		env  map[string]string
		want string
	}{
		"a port is taken": {map[string]string{"PORT_GATEWAY": taken},
			fmt.Sprintf("port %s is taken by stack.test (process %d): end it, or choose another port by PORT_GATEWAY=", taken, os.Getpid())},
		"the broker's second port is taken": {map[string]string{"PORT_BROKER": fmt.Sprint(atoi(taken) + 2)},
			fmt.Sprintf("port %s is taken by stack.test (process %d): end it, or choose another port by PORT_BROKER=", taken, os.Getpid())},
		"the broker's second port is chosen": {map[string]string{"PORT_BROKER_FAST": "12345"}, "it is always PORT_BROKER - 2: choose that one"},
		"a port is no port":                  {map[string]string{"PORT_REDIS": "x"}, "PORT_REDIS=x: a port is a number from 1 to 65535"},
		"an offset is too large":             {map[string]string{"PORT_OFFSET": "60000"}, "PORT_OFFSET=60000: it is a number from 0 to 15000"},
		"a value no shell can hold":          {map[string]string{"ORDER_TTL": "it's"}, "single quote"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			_, err := Up(t.Context(), Options{Dir: dir, RandomPorts: true, SkipBuild: true, Env: test.env})
			require.ErrorContains(t, err, test.want)
			assert.Empty(t, members(dir))
		})
	}
	t.Run("the store's own disk", func(t *testing.T) {
		dir := t.TempDir()
		disk := smalldisk.Mount(t, 8)
		require.NoError(t, os.Mkdir(dir+"/rocketmq", 0o700))
		before, err := machine.DiskOf(store(dir))
		require.NoError(t, err)
		assert.Equal(t, dir+"/rocketmq", before.Dir, "no store yet")
		require.NoError(t, os.Symlink(disk.Dir, dir+"/rocketmq/store"))
		require.NoError(t, disk.Fill(0.95))
		d, err := machine.DiskOf(store(dir))
		require.NoError(t, err)
		assert.InDelta(t, 0.95, d.Used, 0.01)
		_, err = Up(t.Context(), Options{Dir: dir, RandomPorts: true, SkipBuild: true})
		require.ErrorContains(t, err, "is 95 % full, and from 90 % on the message broker takes nothing: make room there")
		assert.Empty(t, members(dir))
		_, err = machine.DiskOf("/dev/null/x")
		require.ErrorContains(t, err, "cannot be read")
	})
	t.Run("a folder that is not temporary", func(t *testing.T) {
		dir := t.TempDir()
		_, err := Up(t.Context(), Options{Dir: dir, Temporary: true})
		require.ErrorContains(t, err, "needs RandomPorts")
		require.NoError(t, os.WriteFile(dir+"/mine", nil, 0o600))
		_, err = Up(t.Context(), Options{Dir: dir, RandomPorts: true, Temporary: true})
		require.ErrorContains(t, err, "is not empty")
	})
	t.Run("a folder with a quote", func(t *testing.T) {
		_, err := Up(t.Context(), Options{Dir: t.TempDir() + "/it's"})
		require.ErrorContains(t, err, "use another one")
	})
	t.Run("nothing there", func(t *testing.T) {
		_, err := Open(t.TempDir())
		require.ErrorContains(t, err, "make up")
		ran, err := Down(t.Context(), t.TempDir()+"/none")
		require.NoError(t, err)
		assert.False(t, ran)
	})
}
