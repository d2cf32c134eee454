package e2e_test

import (
	"crypto/tls"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/authorities"
	"example.com/fourfold/chassis/mtls"
	"example.com/fourfold/chassis/mtls/mtlstest"
)

// certificates returns those of a shop on this machine, and the settings by which its processes use them.
func certificates(t *testing.T) (files mtls.Config, env map[string]string) {
	t.Helper()
	files = mtlstest.New(t).Issue(t, "127.0.0.1")
	return files, map[string]string{"TLS_CERT": files.Cert, "TLS_KEY": files.Key, "TLS_CA": files.CA}
}

// requireTLS requires that in a shop with certificates an order is paid and another one refunded, that the books add up, and that each process
// refuses who shows none.
func requireTLS(t *testing.T, files mtls.Config) {
	buyer, sku := shopper(t), product(t, 500, 9)
	paid, refunded := buyer.order(t, sku, 2), buyer.order(t, sku, 1)
	for _, id := range []string{paid, refunded} {
		buyer.pay(t, id)
		buyer.settled(t, id, "PAID")
	}
	buyer.must(t, 200, "POST", "/v1/orders/"+refunded+"/refund", nil)
	buyer.settled(t, refunded, "REFUNDED")
	require.Equal(t, "PAID | 2 DEDUCTED | 10 ADDED | CREATED | DONE", footprint(t, paid))
	requireBooks(t)

	pool, err := authorities.Read(files.CA)
	require.NoError(t, err)
	for _, name := range append(services, "dtm") {
		conn, err := tls.Dial("tcp", shared.RPC(name), &tls.Config{RootCAs: pool, NextProtos: []string{"h2"}})
		require.NoError(t, err, name)
		_, err = conn.Read(make([]byte, 1))
		require.ErrorContains(t, err, "tls: certificate required", name)
		require.NoError(t, conn.Close())
	}
}
