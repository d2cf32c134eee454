// Package mtlstest gives tests certificates in files.
package mtlstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"example.com/fourfold/chassis/mtls"
)

// Authority issues certificates.
type Authority struct {
	// File holds its own certificate.
	File string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// New returns a new authority.
func New(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{File: filepath.Join(t.TempDir(), "ca.crt"), key: newKey(t)}
	a.cert = template("an authority", time.Now().Add(time.Hour))
	a.cert.IsCA, a.cert.BasicConstraintsValid, a.cert.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, a.File, "CERTIFICATE", der)
	return a
}

// Issue returns the files of a process with a certificate for hosts, names or addresses, that is good for an hour, and for what it is to believe
// a.
func (a *Authority) Issue(t testing.TB, hosts ...string) mtls.Config {
	t.Helper()
	dir := t.TempDir()
	c := mtls.Config{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), CA: a.File}
	a.Renew(t, c, time.Now().Add(time.Hour), hosts...)
	return c
}

// Renew writes a new certificate, good until end, and a new key into the files of c.
func (a *Authority) Renew(t testing.TB, c mtls.Config, end time.Time, hosts ...string) {
	t.Helper()
	key, cert := newKey(t), template("a process", end)
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			cert.IPAddresses = append(cert.IPAddresses, ip)
		} else {
			cert.DNSNames = append(cert.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	writeKey(t, c.Key, key)
	write(t, c.Cert, "CERTIFICATE", der)
}

// Break writes another key into the file of c: one that does not fit the certificate.
func Break(t testing.TB, c mtls.Config) {
	t.Helper()
	writeKey(t, c.Key, newKey(t))
}

func writeKey(t testing.TB, file string, key *ecdsa.PrivateKey) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, "PRIVATE KEY", der)
}

func template(name string, end time.Time) *x509.Certificate {
	return &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: end.Add(-2 * time.Hour), NotAfter: end}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func write(t testing.TB, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
