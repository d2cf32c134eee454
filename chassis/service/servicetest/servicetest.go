// Package servicetest helps tests to run a service: keys to sign tokens with, an address to listen on, the run itself and a connection.
package servicetest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/port"
)

// Keys returns a folder for identity_keys with one public key, and the signer that belongs to it.
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

// Bearer returns the headers of a call by caller.
func Bearer(t testing.TB, signer *identity.Signer, caller identity.Caller) map[string]string {
	t.Helper()
	token, err := signer.Sign(caller, time.Now(), time.Hour)
	require.NoError(t, err)
	return map[string]string{"authorization": "Bearer " + token}
}

// FreeAddr returns an address on this machine where nobody listens yet. It is reserved for the test until that ends, even while what listens
// there is killed and started again.
func FreeAddr(t testing.TB) string {
	t.Helper()
	claim, err := port.Take()
	require.NoError(t, err)
	t.Cleanup(claim.Close)
	return claim.Addr()
}

// Serve runs serve until the test ends, or until stop is called, which waits for it. An error of serve fails the test.
func Serve(t testing.TB, serve func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	stopped := make(chan error, 1)
	go func() { stopped <- serve(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		assert.NoError(t, <-stopped, "an orderly stop is no error")
	})
	t.Cleanup(stop)
	return stop
}

// Dial returns a connection to addr. Its calls wait until something serves there.
func Dial(t testing.TB, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
