// Package authorities reads the certificates of authorities of one's own, which the machine does not trust by itself.
package authorities

import (
	"crypto/x509"
	"fmt"
	"os"
)

// Read returns the certificates in file, which is in PEM and holds at least one.
func Read(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("there is no certificate in %s: it has to be PEM, -----BEGIN CERTIFICATE-----", file)
	}
	return pool, nil
}
