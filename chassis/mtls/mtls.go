// Package mtls is mutual TLS for the gRPC connections between the processes: each end shows a certificate, and believes only one that was issued
// by an authority of its own choice.
package mtls

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"example.com/fourfold/chassis/authorities"
)

// Config names files in PEM: all three, or none for connections without TLS.
type Config struct {
	// Cert is this process' certificate, and behind it those up to the authority's. Others find there the name or the address that they call.
	Cert string `yaml:"cert"`
	// Key is the private key of Cert.
	Key string `yaml:"key"`
	// CA holds the certificates of the authorities that the other end's certificate must be of.
	CA string `yaml:"ca"`
}

// settings are the variables by which all processes are configured, for errors.
const settings = "TLS_CERT, TLS_KEY and TLS_CA"

// Credentials returns what both ends of a connection are made with. A server refuses whoever shows no certificate of the authorities; a client
// refuses a server whose certificate is not of them, or is not for the host that the client calls. The files are read with each new connection,
// so that a renewed certificate needs no restart; while they cannot be read, what they held before goes on. Credentials fails unless all of
// them, or none, are named and fit together.
func (c Config) Credentials() (credentials.TransportCredentials, error) {
	if c == (Config{}) {
		return plain{insecure.NewCredentials()}, nil
	}
	now, err := c.read()
	if err != nil {
		return nil, err
	}
	return &mutual{TransportCredentials: credentials.NewTLS(now), files: &files{Config: c, last: now}}, nil
}

// read returns what both ends use, from the files as they are now.
func (c Config) read() (*tls.Config, error) {
	for _, setting := range []struct{ name, file string }{{"cert", c.Cert}, {"key", c.Key}, {"ca", c.CA}} {
		switch {
		case setting.file == "":
			return nil, fmt.Errorf("tls.%s names no file: set all of %s, or none", setting.name, settings)
		case strings.Contains(setting.file, "-----BEGIN"):
			return nil, fmt.Errorf("tls.%s is what is in a file: write the name of the file, TLS_%s=…", setting.name, strings.ToUpper(setting.name))
		}
	}
	certificate, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, fmt.Errorf("tls.cert %s, tls.key %s: %w", c.Cert, c.Key, err)
	}
	pool, err := authorities.Read(c.CA)
	if err != nil {
		return nil, fmt.Errorf("tls.ca: %w", err)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{certificate},
		RootCAs:      pool,
		ClientCAs:    pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
	}, nil
}

// files are those of a Config, and what they held when they could be read last.
type files struct {
	Config
	mu     sync.Mutex
	last   *tls.Config
	failed string
}

func (f *files) current() *tls.Config {
	now, err := f.read()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.last, f.failed = now, ""
	} else if f.failed != err.Error() {
		f.failed = err.Error()
		slog.Error("new connections go on with the certificates as they were before", "err", err)
	}
	return f.last
}

// mutual are the credentials of a process with certificates.
type mutual struct {
	credentials.TransportCredentials // those of the start
	files                            *files
}

func (m *mutual) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := credentials.NewTLS(m.files.current()).ClientHandshake(ctx, authority, raw)
	var (
		noTLS   tls.RecordHeaderError
		refused *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &noTLS):
		return nil, nil, fmt.Errorf("%s speaks no TLS, and this process does: set %s there too, or nowhere: %w", authority, settings, err)
	case errors.As(err, &refused):
		return nil, nil, fmt.Errorf("the certificate of %s (TLS_CERT there) is not taken by this process (TLS_CA): %w", authority, err)
	case err != nil:
		return nil, nil, fmt.Errorf("TLS with %s: %w", authority, err)
	}
	return watch(conn, func(err error) error {
		var alert *net.OpError
		if errors.As(err, &alert) && alert.Op == "remote error" { // the server judges after the client's handshake has ended
			return fmt.Errorf("%s (TLS_CA there) does not take the certificate of this process (TLS_CERT): %w", authority, err)
		}
		return err
	}), info, nil
}

func (m *mutual) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return credentials.NewTLS(m.files.current()).ServerHandshake(raw)
}

func (m *mutual) Clone() credentials.TransportCredentials {
	return &mutual{m.TransportCredentials.Clone(), m.files}
}

// plain are the credentials of a process without certificates.
type plain struct {
	credentials.TransportCredentials
}

func (p plain) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return p.TransportCredentials.ClientHandshake(ctx, authority, watch(raw, func(err error) error {
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			return fmt.Errorf("%s hung up before its first word, as one with TLS does: if it has %s, set them here too: %w", authority, settings, err)
		}
		return err
	}))
}

func (p plain) Clone() credentials.TransportCredentials { return plain{p.TransportCredentials.Clone()} }

// watched is a connection that explains why no first word came. One goroutine reads and another one writes.
type watched struct {
	net.Conn
	explain func(error) error
	read    bool          // once
	first   chan struct{} // closed then
	why     error         // set before: what explain made of the failure
}

func watch(conn net.Conn, explain func(error) error) *watched {
	return &watched{Conn: conn, explain: explain, first: make(chan struct{})}
}

func (c *watched) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if !c.read {
		c.read = true
		if err != nil {
			err = c.explain(err)
			c.why = err
		}
		close(c.first)
	}
	return n, err
}

// Write says, when it fails because the other end has hung up, what that said before, which the reader has or is about to have.
func (c *watched) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err != nil {
		select {
		case <-c.first:
			err = cmp.Or(c.why, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
	return n, err
}
