package machine

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/deploy/progress"
)

// TestMachine: the error says in one sentence what the machine lacks, with the remedy.
func TestMachine(t *testing.T) {
	t.Parallel()
	t.Run("a small machine", func(t *testing.T) {
		require.NoError(t, tooSmall(2<<30, 3<<30, "/data"))
		require.EqualError(t, tooSmall(400<<20, 1<<30, "/data"),
			"400 MB of memory are free and 1.5 GB are needed: end something, or give this machine more\n"+
				"1.0 GB of disk are free at /data and 2.0 GB are needed: make room there")
	})
	t.Run("a full disk", func(t *testing.T) {
		for _, test := range []struct {
			used      float64
			said, err string
		}{
			{0.79, "", ""},
			{0.80, "  ! the disk at /data is 80 % full: make room before 90 %, from which on the message broker takes nothing\n", ""},
			{0.89, "  ! the disk at /data is 89 % full: make room before 90 %, from which on the message broker takes nothing\n", ""},
			{0.90, "", "the disk at /data is 90 % full, and from 90 % on the message broker takes nothing: make room there"},
			{0.934, "", "the disk at /data is 93 % full, and from 90 % on the message broker takes nothing: make room there"},
		} {
			var said strings.Builder
			err := Disk{"/data", test.used}.Check(progress.New(&said))
			assert.Equal(t, test.said, said.String())
			if test.err == "" {
				assert.NoError(t, err)
			} else {
				assert.EqualError(t, err, test.err)
			}
		}
	})
	t.Run("how much apt downloads", func(t *testing.T) {
		uris := "Reading package lists...\n'http://deb.debian.org/a.deb' a.deb 9496 SHA256:1\n'http://deb.debian.org/b.deb' b.deb 21400 MD5Sum:2\n"
		assert.InDelta(t, 30896, sum(uris), 0)
		assert.Zero(t, sum(""))
	})
}
