package database_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mtls/mtlstest"
)

// TestTLS: with authorities of its own a pool talks only to a server whose certificate they issued for that host, and only encrypted.
func TestTLS(t *testing.T) {
	t.Parallel()
	ours := mtlstest.New(t)
	start := func(hosts ...string) *mysqltest.Server {
		c := ours.Issue(t, hosts...)
		s, err := mysqltest.Start("--ssl-cert="+c.Cert, "--ssl-key="+c.Key, "--ssl-ca="+c.CA)
		require.NoError(t, err)
		t.Cleanup(s.Stop)
		return s
	}
	right, elsewhere := start("127.0.0.1"), start("127.0.0.2")
	const setting = "TLS with the database, by mysql.ca (MYSQL_CA) or tls= in mysql.dsn: "
	for _, row := range []struct{ name, dsn, ca, fails string }{
		{"right", right.DSN(""), ours.File, ""},
		{"said twice", right.DSN("?tls=true"), ours.File, ""},
		{"another authority", right.DSN(""), mtlstest.New(t).File, setting +
			"tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		{"the machine's authorities", right.DSN("?tls=true"), "", setting +
			"tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		{"another name", elsewhere.DSN(""), ours.File, setting +
			"tls: failed to verify certificate: x509: certificate is valid for 127.0.0.2, not 127.0.0.1"},
		{"no TLS there, and it may do without", mysqltest.DSN(t) + "?allowFallbackToPlaintext=true", ours.File, setting +
			"TLS requested but server does not support TLS"},
		{"no TLS there", mysqltest.DSN(t), ours.File, setting + "TLS requested but server does not support TLS"},
	} {
		t.Run(row.name, func(t *testing.T) {
			db, err := database.Open(database.Config{DSN: row.dsn, CA: row.ca})
			require.NoError(t, err)
			defer func() { _ = db.Close() }()
			var name, cipher string
			err = db.QueryRowContext(t.Context(), "SHOW SESSION STATUS LIKE 'Ssl_cipher'").Scan(&name, &cipher)
			if row.fails != "" {
				require.ErrorContains(t, err, row.fails)
				return
			}
			require.NoError(t, err)
			assert.NotEmpty(t, cipher)
		})
	}
	_, err := database.Open(database.Config{DSN: right.DSN("?tls=skip-verify"), CA: ours.File})
	require.EqualError(t, err, "mysql.ca (MYSQL_CA) requires TLS, and mysql.dsn says tls=skip-verify: leave one out")
	_, err = database.Open(database.Config{DSN: right.DSN(""), CA: "absent"})
	require.ErrorContains(t, err, "mysql.ca (MYSQL_CA): open absent")
}
