package smtp_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/notify/internal/smtp"
)

// TestConfigurations tests that what cannot work ends the start with the setting's name and what to do, and without a password.
func TestConfigurations(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(empty, []byte("nothing"), 0o600))
	good := smtp.Config{Addr: "mail.example.com:587", From: "Shop <shop@example.com>"}
	_, err := smtp.New(good)
	require.NoError(t, err)
	for _, c := range []struct {
		want   string
		change func(*smtp.Config)
	}{
		{"(SMTP_ADDR) is not host:port", func(c *smtp.Config) { c.Addr = "" }},
		{"(SMTP_ADDR) is not host:port", func(c *smtp.Config) { c.Addr = "mail.example.com" }},
		{"(SMTP_ADDR) is not host:port", func(c *smtp.Config) { c.Addr = ":25" }},
		{"(SMTP_ADDR) is not host:port", func(c *smtp.Config) { c.Addr = "mail.example.com:0" }},
		{"(SMTP_ADDR) is not host:port", func(c *smtp.Config) { c.Addr = "mail.example.com:no-such-service" }},
		{"without a scheme, user or path", func(c *smtp.Config) { c.Addr = "smtps://mail.example.com:465" }},
		{"without a scheme, user or path", func(c *smtp.Config) { c.Addr = "shop:hunter22@mail.example.com:465" }},
		{"(SMTP_FROM) is no address", func(c *smtp.Config) { c.From = "nobody" }},
		{"(SMTP_FROM): the address has a dot", func(c *smtp.Config) { c.From = `Shop <"a..b"@example.com>` }},
		{"(SMTP_FROM): the address has a character in its domain", func(c *smtp.Config) { c.From = "shop@例子.中国" }},
		{"set both or none", func(c *smtp.Config) { c.Username = "shop" }},
		{"set both or none", func(c *smtp.Config) { c.Password = "hunter22" }},
		{"set it to starttls, implicit or none", func(c *smtp.Config) { c.TLS = "ssl" }},
		{"under TLS only", func(c *smtp.Config) { c.TLS, c.Username, c.Password = "none", "shop", "hunter22" }},
		{"(SMTP_CA): open ", func(c *smtp.Config) { c.CA = empty + "2" }},
		{"(SMTP_CA): there is no certificate in", func(c *smtp.Config) { c.CA = empty }},
		{`(SMTP_HELLO) is "localhost"`, func(c *smtp.Config) { c.Hello = "localhost" }},
		{`(SMTP_HELLO) is "shop"`, func(c *smtp.Config) { c.Hello = "shop" }},
		{`(SMTP_HELLO) is "192.0.2.1"`, func(c *smtp.Config) { c.Hello = "192.0.2.1" }},
		{`(SMTP_HELLO) is "a.b\r\nMAIL FROM:<>"`, func(c *smtp.Config) { c.Hello = "a.b\r\nMAIL FROM:<>" }},
		{`(SMTP_HELLO) is "[2001:db8::1]"`, func(c *smtp.Config) { c.Hello = "[2001:db8::1]" }},
		{"email.smtp.times", func(c *smtp.Config) { c.Times.Dot = -1 }},
	} {
		cfg := good
		c.change(&cfg)
		_, err := smtp.New(cfg)
		require.ErrorContains(t, err, c.want, "%+v", cfg)
		assert.NotContains(t, err.Error(), "hunter22")
	}
	for _, change := range []func(*smtp.Config){
		func(c *smtp.Config) { c.TLS = "none" },
		func(c *smtp.Config) { c.Addr = "mail.example.com:smtp" },
		func(c *smtp.Config) { c.Addr = "[::1]:25" },
		func(c *smtp.Config) { c.Addr = "mail_relay:25" }, // a container's
		func(c *smtp.Config) { c.Hello = "shop.example.com" },
		func(c *smtp.Config) { c.Hello = "[192.0.2.1]" },
		func(c *smtp.Config) { c.Hello = "[IPv6:2001:db8::1]" },
		func(c *smtp.Config) { c.Addr, c.Hello = "localhost:25", "localhost" },
		func(c *smtp.Config) {
			c.Addr, c.TLS, c.Username, c.Password = "localhost:25", "none", "shop", "hunter22"
		},
		func(c *smtp.Config) { c.From = "root@localhost" },
	} {
		cfg := good
		change(&cfg)
		_, err := smtp.New(cfg)
		require.NoError(t, err, "%+v", cfg)
	}
}
