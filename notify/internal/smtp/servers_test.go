package smtp_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/notify/internal/notification"
	"example.com/fourfold/notify/internal/smtp"
)

const (
	// thinks is how long a slow server takes for one step, patience what a step may take here.
	thinks, patience = 200 * time.Millisecond, time.Second
	// thinksLong is how long a server takes for a whole mail that was given longer than the other steps.
	thinksLong = 1500 * time.Millisecond
)

// TestServers tests what becomes of a mail with servers of all kinds.
func TestServers(t *testing.T) {
	t.Parallel()
	own, roots := certificate(t, loopback)
	_, another := certificate(t, loopback)
	elsewhere, elsewhereRoots := certificate(t, net.IPv4(192, 0, 2, 1))
	type kind struct {
		server *scripted
		change func(*smtp.Config)
		// want is in the error; "" when the mail is sent. unknown and refused say which error it is.
		want             string
		unknown, refused bool
		// told is what the server was told, "" for nothing of this.
		told string
		// silent is what it was not told.
		silent string
	}
	signIn := func(c *smtp.Config) { c.Username, c.Password = "shop", "hunter22" }
	for name, c := range map[string]kind{
		"slow to greet":  {server: &scripted{think: map[string]time.Duration{"": thinks}}},
		"slow to answer": {server: &scripted{think: map[string]time.Duration{"EHLO": thinks, "MAIL": thinks, "RCPT": thinks, "DATA": thinks}}},
		"slow to take it": {server: &scripted{think: map[string]time.Duration{".": thinksLong}},
			change: func(c *smtp.Config) { c.Times.Dot = time.Minute }},
		"slow to say farewell": {server: &scripted{think: map[string]time.Duration{"QUIT": 2 * time.Second}}},
		"silent":               {server: &scripted{answers: map[string][]string{"": {"hang"}}}, want: "the greeting: the server took too long"},
		"silent at RCPT":       {server: &scripted{answers: map[string][]string{"RCPT": {"hang"}}}, want: "RCPT: the server took too long"},
		"silent behind the mail": {server: &scripted{answers: map[string][]string{".": {"hang"}}}, unknown: true,
			want: "the answer to the mail: the server took too long"},
		"drops at DATA":         {server: &scripted{answers: map[string][]string{"DATA": {"drop"}}}, want: "DATA: the server closed the connection"},
		"drops behind the mail": {server: &scripted{answers: map[string][]string{".": {"drop"}}}, unknown: true, want: "closed the connection"},
		"garbage behind the mail": {server: &scripted{answers: map[string][]string{".": {"who knows"}}}, unknown: true,
			want: "the answer to the mail"},
		"another yes": {server: &scripted{answers: map[string][]string{".": {"251 2.1.5 will forward it"}}}},
		"no behind the mail": {server: &scripted{answers: map[string][]string{".": {"552 5.3.4 too large"}}},
			want: "5.3.4 too large"},
		"never behind the mail": {server: &scripted{answers: map[string][]string{".": {"554 5.6.0 what is that?"}}}, refused: true, want: "what is"},
		"later":                 {server: &scripted{answers: map[string][]string{".": {"451 4.3.0 later"}}}, want: "451"},
		"several lines": {server: &scripted{answers: map[string][]string{"": {"220-hello\n220-who\n220 are you?"}, "RCPT": {"250-yes\n250 and yes"},
			"DATA": {"354-well\n354 go ahead"}, ".": {"250-2.0.0 I have it\n250 2.0.0 as 4711"}}}},
		"a no of several lines": {server: &scripted{answers: map[string][]string{"RCPT": {"550-5.1.1 nobody\n550 5.1.1 of that name"}}}, refused: true,
			want: "nobody"},
		"endless": {server: &scripted{answers: map[string][]string{"RCPT": {strings.Repeat("250-yes\n", 200_000) + "250 yes"}}},
			change: func(c *smtp.Config) { c.Times.Command = 30 * time.Second }, want: "said more than a mail server has to say"},
		"does not serve us":               {server: &scripted{answers: map[string][]string{"": {"554 5.7.1 go away"}}}, want: "the greeting: 554"},
		"our sender is not liked":         {server: &scripted{answers: map[string][]string{"MAIL": {"550 5.1.8 not you"}}}, want: "MAIL: 550"},
		"relays for nobody":               {server: &scripted{answers: map[string][]string{"RCPT": {"550 5.7.1 relaying denied"}}}, want: "RCPT: 550"},
		"knows no EHLO":                   {server: &scripted{answers: map[string][]string{"EHLO": {"502 5.5.1 what?"}}}, told: "HELO [127.0.0.1]"},
		"wants a full name":               {server: &scripted{onlyFQDN: true}, change: func(c *smtp.Config) { c.Hello = "shop.example.com" }, told: "EHLO shop.example.com"},
		"wants a full name or an address": {server: &scripted{onlyFQDN: true}, told: "MAIL FROM:<shop@example.com>"},
		"is told a name that it does not like": {server: &scripted{onlyFQDN: true}, change: func(c *smtp.Config) { c.Hello = "shop" },
			want: "email.smtp.hello (SMTP_HELLO) sets the name"},
		"takes eight bits": {server: &scripted{extensions: []string{"8BITMIME", "SMTPUTF8"}}, told: "MAIL FROM:<shop@example.com> BODY=8BITMIME"},
		"takes seven bits": {server: &scripted{extensions: []string{"PIPELINING"}}, told: "MAIL FROM:<shop@example.com>"},
		"has STARTTLS":     {server: &scripted{certificate: &own, extensions: []string{"STARTTLS"}, secure: []string{"SIZE 1000"}}, told: "STARTTLS"},
		"has starttls": {server: &scripted{certificate: &own, extensions: []string{"starttls"}}, told: "STARTTLS",
			change: func(c *smtp.Config) { c.TLS = "starttls" }},
		"lost STARTTLS on the way": {server: &scripted{}, change: func(c *smtp.Config) { c.TLS = "starttls" }, silent: "MAIL",
			want: "the server offers no STARTTLS: set email.smtp.tls (SMTP_TLS)"},
		"refuses STARTTLS for now": {server: &scripted{certificate: &own, extensions: []string{"STARTTLS"},
			answers: map[string][]string{"STARTTLS": {"454 4.7.0 not now"}}}, silent: "MAIL", want: "STARTTLS: 454"},
		"has a stranger's certificate": {server: &scripted{certificate: &own, extensions: []string{"STARTTLS"}}, silent: "MAIL",
			change: func(c *smtp.Config) { c.CA = another }, want: "SMTP_TLS=none sends without TLS, on this machine"},
		"has another name's certificate": {server: &scripted{certificate: &elsewhere, extensions: []string{"STARTTLS"}}, silent: "MAIL",
			change: func(c *smtp.Config) { c.CA, c.TLS = elsewhereRoots, "starttls" }, want: "SMTP_ADDR has to have the name that is in the server's"},
		"is sent to without TLS": {server: &scripted{certificate: &own, extensions: []string{"STARTTLS"}}, silent: "STARTTLS",
			change: func(c *smtp.Config) { c.TLS = "none" }, told: "MAIL FROM:<shop@example.com>"},
		"has TLS from the first byte": {server: &scripted{certificate: &own, implicit: true, extensions: []string{"AUTH PLAIN"}}, silent: "STARTTLS",
			change: func(c *smtp.Config) { c.TLS = "implicit"; signIn(c) }, told: "AUTH PLAIN |shop|hunter22"},
		"has no TLS from the first byte": {server: &scripted{}, change: func(c *smtp.Config) { c.TLS = "implicit" }, want: "set email.smtp.tls (SMTP_TLS) to starttls"},
		"knows LOGIN only": {server: &scripted{certificate: &own, extensions: []string{"STARTTLS"}, secure: []string{"AUTH LOGIN"}}, change: signIn,
			told: "AUTH LOGIN shop|hunter22"},
		"knows LOGIN only, written otherwise": {server: &scripted{extensions: []string{"AUTH=LOGIN"}}, change: signIn, told: "AUTH LOGIN shop|hunter22"},
		"knows plain":                         {server: &scripted{extensions: []string{"AUTH plain"}}, change: signIn, told: "AUTH PLAIN |shop|hunter22"},
		"knows plain, in small letters":       {server: &scripted{extensions: []string{"auth plain"}}, change: signIn, told: "AUTH PLAIN |shop|hunter22"},
		"knows CRAM-MD5 only": {server: &scripted{extensions: []string{"AUTH GSSAPI CRAM-MD5"}}, change: signIn,
			told: "AUTH CRAM-MD5 shop 39ebe7d175383ceae0e80445da1cf560"},
		"signs nobody in": {server: &scripted{}, change: signIn, silent: "MAIL", want: "the server offers no AUTH: take another port"},
		"knows others only": {server: &scripted{extensions: []string{"AUTH GSSAPI NTLM"}}, change: signIn, silent: "MAIL",
			want: "the server offers GSSAPI, NTLM, and here are PLAIN, LOGIN"},
		"does not know the password": {server: &scripted{extensions: []string{"AUTH PLAIN"},
			answers: map[string][]string{"AUTH": {"535 5.7.8 not with hunter22, AHNob3AAaHVudGVyMjI="}}}, change: signIn, silent: "MAIL",
			want: `535 "5.7.8 not with ***, ***"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.server.open(t)
			cfg := smtp.Config{Addr: c.server.addr, CA: roots, Times: smtp.Times{Command: patience, Data: patience, Dot: patience}}
			if c.change != nil {
				c.change(&cfg)
			}
			begin := time.Now()
			err := provider(t, cfg).Send(t.Context(), note())
			if c.want == "" {
				require.NoError(t, err)
				require.Len(t, c.server.mails, 1)
				if name == "slow to say farewell" {
					assert.Less(t, time.Since(begin), 1500*time.Millisecond, "nobody waits for it")
				}
			} else {
				require.ErrorContains(t, err, c.want)
				assert.Equal(t, c.unknown, errors.Is(err, notification.ErrUnknown), "%v", err)
				assert.Equal(t, c.refused, errors.Is(err, notification.ErrRefused), "%v", err)
				assert.NotContains(t, err.Error(), "hunter22")
			}
			told := "\n" + strings.Join(c.server.commands(), "\n") + "\n"
			if c.told != "" {
				assert.Contains(t, told, "\n"+c.told+"\n")
			}
			if c.silent != "" {
				assert.NotContains(t, told, "\n"+c.silent)
			}
			assert.NotContains(t, told, "EHLO localhost")
			assert.NotContains(t, told, " SMTPUTF8")
		})
	}
}

// TestUnknownThenSent tests that the mail of a second try is the same, with the same Message-ID, when the answer to the first was lost.
func TestUnknownThenSent(t *testing.T) {
	t.Parallel()
	s := scripted{answers: map[string][]string{".": {"drop", "250 2.0.0 fine"}}}
	s.open(t)
	p := provider(t, smtp.Config{Addr: s.addr})
	require.ErrorIs(t, p.Send(t.Context(), note()), notification.ErrUnknown)
	require.NoError(t, p.Send(t.Context(), note()))
	require.Len(t, s.mails, 2)
	assert.Equal(t, s.mails[0], s.mails[1])
	assert.Contains(t, s.mails[0], "\r\nMessage-ID: <0190-1@example.com>\r\n")
}

// TestContextEnds tests that a mail is not given to the server when the context ended, and that the answer to one that it has is awaited.
func TestContextEnds(t *testing.T) {
	t.Parallel()
	for verb, sent := range map[string]bool{"": false, "EHLO": false, "RCPT": false, "DATA": false, ".": true} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			s := scripted{think: map[string]time.Duration{verb: time.Second}}
			s.open(t)
			ctx, cancel := context.WithTimeout(t.Context(), thinks)
			defer cancel()
			begin := time.Now()
			err := provider(t, smtp.Config{Addr: s.addr}).Send(ctx, note())
			if sent {
				require.NoError(t, err)
				assert.Len(t, s.mails, 1)
				return
			}
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotErrorIs(t, err, notification.ErrUnknown)
			assert.Less(t, time.Since(begin), 900*time.Millisecond)
			assert.Empty(t, s.mails)
		})
	}
}

// TestModes tests how a server is spoken to when nothing is said about it.
func TestModes(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"mail.example.com:587": "starttls", "mail.example.com:25": "starttls", "192.0.2.1:2525": "starttls", "mail:1025": "starttls",
		"localhost.example.com:25": "starttls", "mail.example.com:465": "implicit", "localhost:465": "implicit", "mail.example.com:submissions": "implicit",
		"localhost:25": "when offered", "127.0.0.1:25": "when offered", "127.8.8.8:25": "when offered", "[::1]:25": "when offered",
		"relay.localhost:25": "when offered", "LOCALHOST:25": "when offered",
	} {
		assert.Equal(t, want, provider(t, smtp.Config{Addr: addr}).Mode(), addr)
	}
	assert.Equal(t, "none", provider(t, smtp.Config{Addr: "mail.example.com:465", TLS: "none"}).Mode())
	assert.Equal(t, "starttls", provider(t, smtp.Config{Addr: "localhost:465", TLS: "starttls"}).Mode())
}

// TestAnotherMachine tests that neither mail nor password goes to another machine without TLS, unless TLS is switched off by name.
func TestAnotherMachine(t *testing.T) {
	t.Parallel()
	ip := outside(t)
	own, roots := certificate(t, ip)
	send := func(s *scripted, change func(*smtp.Config)) error {
		s.ip = ip
		s.open(t)
		cfg := smtp.Config{Addr: s.addr, CA: roots, Username: "shop", Password: "hunter22"}
		if change != nil {
			change(&cfg)
		}
		return provider(t, cfg).Send(t.Context(), note())
	}
	stripped := scripted{extensions: []string{"AUTH PLAIN LOGIN"}}
	require.ErrorContains(t, send(&stripped, nil), "the server offers no STARTTLS")
	assert.Zero(t, stripped.count("AUTH")+stripped.count("MAIL"), "%q", stripped.commands())

	encrypted := scripted{certificate: &own, extensions: []string{"STARTTLS"}, secure: []string{"AUTH PLAIN LOGIN"}}
	require.NoError(t, send(&encrypted, nil))
	assert.Equal(t, 1, encrypted.count("AUTH"))
	for _, command := range encrypted.commands() {
		name, greets := strings.CutPrefix(command, "EHLO ")
		assert.False(t, greets && (name == "localhost" || !strings.ContainsAny(name, ".:")), command)
	}

	var plain scripted
	require.NoError(t, send(&plain, func(c *smtp.Config) { c.TLS, c.Username, c.Password = "none", "", "" }))
	assert.Len(t, plain.mails, 1)
}

// outside returns an address of this machine that other machines may reach.
func outside(t *testing.T) net.IP {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, addr := range addrs {
		if n, ok := addr.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP
		}
	}
	t.Skip("this machine has no address but its own")
	return nil
}

// TestLook tests that what the server supports is read and logged, and that one that is away is asked again.
func TestLook(t *testing.T) {
	t.Parallel()
	own, roots := certificate(t, loopback)
	s := scripted{certificate: &own, extensions: []string{"STARTTLS"}, secure: []string{"SIZE 1000", "8BITMIME", "AUTH PLAIN LOGIN", "X-OTHER"}}
	s.open(t)
	p := provider(t, smtp.Config{Addr: s.addr, CA: roots, Hello: "shop.example.com"})
	seen, err := p.Look(t.Context())
	require.NoError(t, err)
	assert.Equal(t, smtp.Server{Name: "mail.example.com greets you", Hello: "shop.example.com", TLS: "TLS 1.3", Auth: []string{"PLAIN", "LOGIN"},
		Extensions: []string{"SIZE 1000", "8BITMIME"}}, seen)
	assert.Empty(t, s.mails)
	assert.Zero(t, s.count("MAIL"))

	require.NoError(t, p.Announce(t.Context()), "it ends when it has seen the server")
	ctx, cancel := context.WithTimeout(t.Context(), thinks)
	defer cancel()
	require.NoError(t, provider(t, smtp.Config{Addr: "127.0.0.1:1"}).Announce(ctx), "a server that is away ends nothing")
	require.Error(t, ctx.Err(), "it tries on")
}
