// Package servicetest has what a test needs to run a service: keys to sign tokens with, and an address to listen at.
package servicetest

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/port"
)

// Keys gives a folder for identity_keys with one public key, and the signer that belongs to it.
func Keys(t testing.TB) (string, *identity.Signer) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	dir := t.TempDir()
	block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "k1.pem"), block, 0o600))
	return dir, identity.NewSigner("k1", private)
}

// FreeAddr returns an address on this machine where nobody listens yet. It is the test's own until it ends, also while what listens
// there is killed and started again.
func FreeAddr(t testing.TB) string {
	t.Helper()
	claim, err := port.Take()
	require.NoError(t, err)
	t.Cleanup(claim.Close)
	return claim.Addr()
}
