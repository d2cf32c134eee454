package main

import (
	"crypto/x509"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRoots: where the machine has no certificates of authorities, as in a container, the program has its own.
func TestRoots(t *testing.T) {
	if os.Getenv("WITHOUT_CERTIFICATES") != "" {
		roots, err := x509.SystemCertPool()
		require.NoError(t, err)
		assert.False(t, roots.Equal(x509.NewCertPool()))
		return
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRoots$")
	cmd.Env = append(os.Environ(), "WITHOUT_CERTIFICATES=1", "SSL_CERT_FILE=/nowhere", "SSL_CERT_DIR=/nowhere")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
}
