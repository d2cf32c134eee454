package service_test

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"example.com/fourfold/chassis/authorities"
	"example.com/fourfold/chassis/mtls"
	"example.com/fourfold/chassis/mtls/mtlstest"
	"example.com/fourfold/chassis/probe"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/service/servicetest"
)

// serveTLS runs a service with these certificates until the test ends, and returns its address when its admin port says that it is ready.
func serveTLS(t *testing.T, certificates mtls.Config) string {
	t.Helper()
	var cfg service.Config
	cfg.GRPC.Addr, cfg.Admin.Addr = servicetest.FreeAddr(t), servicetest.FreeAddr(t)
	cfg.IdentityKeys, _ = servicetest.Keys(t)
	cfg.Log.Level = "warn"
	cfg.TLS = certificates
	svc, err := service.New("shop", cfg)
	require.NoError(t, err)
	servicetest.Serve(t, svc.Run)
	require.Eventually(t, func() bool { return probe.AskSelf(t.Context(), cfg.Admin.Addr, "/readyz") == nil }, 10*time.Second, 10*time.Millisecond)
	return cfg.GRPC.Addr
}

// check makes one call, and waits for a connection only if wait says so: else the first failure is the answer.
func check(t *testing.T, conn *grpc.ClientConn, wait bool) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{}, grpc.WaitForReady(wait))
	return err
}

// TestTLS: a call passes when each end has a certificate that the other one believes, and the server's is for the address that is called.
// Everything else fails before the call is sent, and the caller reads why, and which setting is to be changed.
func TestTLS(t *testing.T) {
	t.Parallel()
	ours, other := mtlstest.New(t), mtlstest.New(t)
	good := ours.Issue(t, "127.0.0.1")
	expired, elsewhere := ours.Issue(t), ours.Issue(t, "inventory", "127.0.0.2")
	ours.Renew(t, expired, time.Now().Add(-time.Minute), "127.0.0.1")
	theirs := other.Issue(t, "127.0.0.1")
	theirsButOurCA := theirs
	theirsButOurCA.CA = ours.File
	const (
		serverIsNotTaken = "(TLS_CERT there) is not taken by this process (TLS_CA): "
		clientIsNotTaken = "(TLS_CA there) does not take the certificate of this process (TLS_CERT): remote error: tls: "
	)
	servers := map[string]string{}
	for name, certificates := range map[string]mtls.Config{"good": good, "plain": {}, "expired": expired, "elsewhere": elsewhere,
		"theirs": theirs, "theirs that believes us": theirsButOurCA} {
		servers[name] = serveTLS(t, certificates)
	}
	for _, row := range []struct {
		name   string
		server string
		client mtls.Config
		fails  string // "" when the call passes
	}{
		{"both good", "good", good, ""},
		{"both plain", "plain", mtls.Config{}, ""},
		{"a client's names do not matter", "good", elsewhere, ""},
		{"plain client", "good", mtls.Config{}, "hung up before its first word, as one with TLS does: if it has TLS_CERT, TLS_KEY and TLS_CA"},
		{"plain server", "plain", good, "speaks no TLS, and this process does: set TLS_CERT, TLS_KEY and TLS_CA there too, or nowhere"},
		{"client of another authority", "good", theirsButOurCA, clientIsNotTaken + "unknown certificate authority"},
		{"client expired", "good", expired, clientIsNotTaken + "expired certificate"},
		{"server of another authority", "theirs that believes us", good, serverIsNotTaken +
			"tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		{"server expired", "expired", good, serverIsNotTaken + "tls: failed to verify certificate: x509: certificate has expired"},
		{"server with another name", "elsewhere", good, serverIsNotTaken +
			"tls: failed to verify certificate: x509: certificate is valid for 127.0.0.2, not 127.0.0.1"},
		{"two systems", "theirs", good, serverIsNotTaken + "tls: failed to verify certificate: x509: certificate signed by unknown authority"},
	} {
		t.Run(row.name, func(t *testing.T) {
			conn, err := service.Dial(servers[row.server], row.client)
			require.NoError(t, err)
			defer func() { _ = conn.Close() }()
			err = check(t, conn, row.fails == "")
			if row.fails == "" {
				require.NoError(t, err)
				return
			}
			assert.Equal(t, codes.Unavailable, status.Code(err), "it was not sent")
			require.ErrorContains(t, err, row.fails)
		})
	}
	t.Run("server stops in the handshake", func(t *testing.T) {
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { _ = lis.Close() }()
		go func() {
			for conn, err := lis.Accept(); err == nil; conn, err = lis.Accept() {
				_ = conn.Close()
			}
		}()
		conn, err := service.Dial(lis.Addr().String(), good)
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		err = check(t, conn, false)
		require.ErrorContains(t, err, "TLS with ")
		assert.NotContains(t, err.Error(), "certificate", "nobody has judged one")
	})
	t.Run("client without a certificate", func(t *testing.T) {
		pool, err := authorities.Read(ours.File)
		require.NoError(t, err)
		conn, err := tls.Dial("tcp", servers["good"], &tls.Config{RootCAs: pool, NextProtos: []string{"h2"}})
		require.NoError(t, err, "the server judges afterwards")
		defer func() { _ = conn.Close() }()
		_, err = conn.Read(make([]byte, 1))
		require.ErrorContains(t, err, "remote error: tls: certificate required")
	})
}

// TestRenewedCertificates: what is renewed on disk is used for the next connection, at both ends, and a file that cannot be read meanwhile
// changes nothing.
func TestRenewedCertificates(t *testing.T) {
	t.Parallel()
	ours := mtlstest.New(t)
	server, client := ours.Issue(t, "127.0.0.1"), ours.Issue(t)
	addr := serveTLS(t, server)
	creds, err := client.Credentials()
	require.NoError(t, err)
	call := func() error { // with a new connection and the credentials of the start
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(creds))
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		return check(t, conn, false)
	}
	require.NoError(t, call())
	for _, end := range []struct {
		name  string
		files mtls.Config
		says  string
	}{{"server", server, "is not taken by this process (TLS_CA)"}, {"client", client, "does not take the certificate of this process (TLS_CERT)"}} {
		ours.Renew(t, end.files, time.Now().Add(-time.Minute), "127.0.0.1")
		require.ErrorContains(t, call(), end.says, "%s: the expired one is used", end.name)
		ours.Renew(t, end.files, time.Now().Add(time.Hour), "127.0.0.1")
		require.NoError(t, call(), "%s: the new one is used", end.name)
		mtlstest.Break(t, end.files)
		require.NoError(t, call(), "%s: key and certificate do not fit: the last ones that did go on", end.name)
		ours.Renew(t, end.files, time.Now().Add(-time.Minute), "127.0.0.1")
		require.ErrorContains(t, call(), end.says, "%s: what fits again is used again", end.name)
		ours.Renew(t, end.files, time.Now().Add(time.Hour), "127.0.0.1")
	}
}

// TestTLSSettings: files that cannot work are an error of the start, which names the setting.
func TestTLSSettings(t *testing.T) {
	t.Parallel()
	ours, keys := mtlstest.New(t), service.Config{}
	keys.IdentityKeys, _ = servicetest.Keys(t)
	keys.Log.Level = "warn"
	for says, change := range map[string]func(c *mtls.Config){
		"tls.cert names no file: set all of TLS_CERT, TLS_KEY and TLS_CA, or none": func(c *mtls.Config) { c.Cert = "" },
		"tls.key names no file":                 func(c *mtls.Config) { c.Key = "" },
		"tls.ca names no file":                  func(c *mtls.Config) { c.CA = "" },
		"tls.key is what is in a file":          func(c *mtls.Config) { c.Key = "-----BEGIN PRIVATE KEY-----\n" },
		"tls.ca: open absent":                   func(c *mtls.Config) { c.CA = "absent" },
		"tls.ca: there is no certificate in ":   func(c *mtls.Config) { c.CA = c.Key },
		"private key does not match public key": func(c *mtls.Config) { c.Cert = ours.File },
	} {
		certificates := ours.Issue(t, "127.0.0.1")
		change(&certificates)
		_, err := service.Dial("127.0.0.1:1", certificates)
		require.ErrorContains(t, err, says)
		cfg := keys
		cfg.TLS = certificates
		_, err = service.New("shop", cfg)
		require.ErrorContains(t, err, says)
	}
}
