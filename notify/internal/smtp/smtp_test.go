package smtp_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	server "github.com/emersion/go-smtp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/notify/internal/notification"
	"example.com/fourfold/notify/internal/smtp"
)

// post is a mail server and what it has received.
type post struct {
	addr string
	// rcpt, text and from are its answers, nil for yes.
	rcpt, text, from error

	mu    sync.Mutex
	mails []string
	saw   []string // TLS and AUTH
}

func (p *post) NewSession(c *server.Conn) (server.Session, error) {
	return &session{post: p, conn: c}, nil
}

type session struct {
	*post
	conn *server.Conn
	to   []string
}

func (s *session) Mail(from string, _ *server.MailOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, secure := s.conn.TLSConnectionState(); secure {
		s.saw = append(s.saw, "TLS")
	}
	s.saw = append(s.saw, "from "+from)
	return s.from
}

func (s *session) Rcpt(to string, _ *server.RcptOptions) error {
	s.to = append(s.to, to)
	return s.rcpt
}

func (s *session) Data(r io.Reader) error {
	body, err := io.ReadAll(r)
	if err != nil || s.text != nil {
		return s.text
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saw = append(s.saw, "to "+strings.Join(s.to, " "))
	s.mails = append(s.mails, string(body))
	return nil
}

func (s *session) Reset()        {}
func (s *session) Logout() error { return nil }

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if username != "shop" || password != "secret" {
			return server.ErrAuthFailed
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.saw = append(s.saw, "AUTH")
		return nil
	}), nil
}

// open starts p on a port of its own. With certificates it offers STARTTLS, and AUTH only after that.
func (p *post) open(t *testing.T, certificates ...tls.Certificate) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := server.NewServer(p)
	s.Domain, s.ReadTimeout = "localhost", 10*time.Second
	s.ErrorLog = silent{}
	if len(certificates) > 0 {
		s.TLSConfig = &tls.Config{Certificates: certificates}
	} else {
		s.AllowInsecureAuth = true
	}
	go func() { _ = s.Serve(lis) }()
	t.Cleanup(func() { _ = s.Close() })
	p.addr = lis.Addr().String()
}

type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}

var loopback = net.IPv4(127, 0, 0, 1)

func provider(t *testing.T, cfg smtp.Config) *smtp.Provider {
	t.Helper()
	if cfg.From == "" {
		cfg.From = "买四 <shop@example.com>"
	}
	p, err := smtp.New(cfg)
	require.NoError(t, err)
	return p
}

func note() notification.Notification {
	return notification.Notification{
		ID: "0190-1", To: "ann@example.com", Subject: "订单已支付 / Order paid", Text: "您好：\n.\n第二行\n",
		CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

func TestAMail(t *testing.T) {
	t.Parallel()
	var p post
	p.open(t)
	n := note()
	n.Subject = strings.Repeat("长", 255)
	require.NoError(t, provider(t, smtp.Config{Addr: p.addr}).Send(t.Context(), n))
	require.NoError(t, provider(t, smtp.Config{Addr: p.addr}).Send(t.Context(), n))
	require.Len(t, p.mails, 2)
	assert.Equal(t, p.mails[0], p.mails[1], "a second try is the same mail")
	assert.Equal(t, []string{"from shop@example.com", "to ann@example.com"}, p.saw[:2])
	for line := range strings.SplitSeq(p.mails[0], "\r\n") {
		assert.LessOrEqual(t, len(line), len("Subject: ")+75, line) // an encoded word has 75; mail servers take 998
		assert.False(t, strings.ContainsFunc(line, func(r rune) bool { return r > '~' }), line)
	}
	m, err := mail.ReadMessage(strings.NewReader(p.mails[0]))
	require.NoError(t, err)
	subject, err := (&mime.WordDecoder{}).DecodeHeader(m.Header.Get("Subject"))
	require.NoError(t, err)
	assert.Equal(t, n.Subject, subject)
	from, err := m.Header.AddressList("From")
	require.NoError(t, err)
	assert.Equal(t, mail.Address{Name: "买四", Address: "shop@example.com"}, *from[0])
	assert.Equal(t, "<ann@example.com>", m.Header.Get("To"))
	assert.Equal(t, "<0190-1@example.com>", m.Header.Get("Message-ID"))
	assert.Equal(t, "text/plain; charset=utf-8", m.Header.Get("Content-Type"))
	at, err := m.Header.Date()
	require.NoError(t, err)
	assert.True(t, n.CreatedAt.Equal(at), at)
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	require.NoError(t, err)
	assert.Equal(t, n.Text, strings.ReplaceAll(string(body), "\r\n", "\n"))
}

// TestNoHeaderOfAStrangers tests that text in a name or an address becomes neither a header nor a recipient.
func TestNoHeaderOfAStrangers(t *testing.T) {
	t.Parallel()
	var p post
	p.open(t)
	send := provider(t, smtp.Config{Addr: p.addr}).Send
	n := note()
	n.Subject = "hello\r\nBcc: eve@example.com\r\n\r\nbuy"
	n.Text = "a\r\n.\r\nRCPT TO:<eve@example.com>\r\n"
	require.NoError(t, send(t.Context(), n))
	m, err := mail.ReadMessage(strings.NewReader(p.mails[0]))
	require.NoError(t, err)
	assert.Empty(t, m.Header.Get("Bcc"))
	assert.Len(t, m.Header, 9)
	assert.Equal(t, []string{"from shop@example.com", "to ann@example.com"}, p.saw)
	for _, to := range []string{
		"", "ann", "ann@example.com\r\nBcc: eve@example.com", "ann@example.com>\r\nRCPT TO:<eve@example.com", "Ann <ann@example.com>",
		"ann@example.com, eve@example.com", "ann @example.com", `"ann"@example.com`, "an..n@example.com", "用户@example.com", "ann@例子.中国",
	} {
		n.To = to
		require.ErrorIs(t, send(t.Context(), n), notification.ErrRefused, "%q", to)
	}
	assert.Len(t, p.mails, 1)
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	refusal := func(code int, enhanced ...int) error {
		said := &server.SMTPError{Code: code, Message: "no"}
		copy(said.EnhancedCode[:], enhanced)
		return said
	}
	for name, c := range map[string]struct {
		post    *post
		forGood bool
	}{
		"recipient unknown":        {&post{rcpt: refusal(550)}, true},
		"recipient later":          {&post{rcpt: refusal(450)}, false},
		"sign in first":            {&post{rcpt: refusal(530)}, false},
		"relay denied":             {&post{rcpt: refusal(550, 5, 7, 1)}, false},
		"relay denied, another":    {&post{rcpt: refusal(554, 5, 7, 1)}, false},
		"no such mailbox":          {&post{rcpt: refusal(554, 5, 1, 1)}, true},
		"mailbox full":             {&post{rcpt: refusal(552, 5, 2, 2)}, true},
		"mailbox full, old server": {&post{rcpt: refusal(552)}, true},
		"not an address to it":     {&post{rcpt: refusal(501)}, true},
		"no such domain":           {&post{rcpt: refusal(550, 5, 4, 1)}, true},
		"come again, it says":      {&post{rcpt: refusal(450, 4, 1, 1)}, false},
		"service shuts down":       {&post{text: refusal(421)}, false},
		"text refused":             {&post{text: refusal(554, 5, 6, 0)}, true},
		"refused, no more is said": {&post{text: refusal(554)}, false},
		"text later":               {&post{text: refusal(451)}, false},
		"our sender is not wanted": {&post{from: refusal(550)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.post.open(t)
			err := provider(t, smtp.Config{Addr: c.post.addr}).Send(t.Context(), note())
			require.ErrorContains(t, err, "no")
			if c.forGood {
				assert.ErrorIs(t, err, notification.ErrRefused)
			} else {
				assert.NotErrorIs(t, err, notification.ErrRefused)
			}
			assert.Empty(t, c.post.mails)
		})
	}
}

func TestTLSAndPassword(t *testing.T) {
	t.Parallel()
	own, roots := certificate(t, loopback)
	_, another := certificate(t, loopback)
	var p post
	p.open(t, own)
	cfg := smtp.Config{Addr: p.addr, Username: "shop", Password: "secret", CA: roots}
	require.NoError(t, provider(t, cfg).Send(t.Context(), note()))
	assert.Equal(t, []string{"AUTH", "TLS", "from shop@example.com", "to ann@example.com"}, p.saw)

	wrong := cfg
	wrong.Password = "guess"
	err := provider(t, wrong).Send(t.Context(), note())
	require.ErrorContains(t, err, "AUTH PLAIN: 535")
	assert.NotErrorIs(t, err, notification.ErrRefused, "the operator may mend it")
	assert.NotContains(t, err.Error(), "guess")

	stranger := cfg
	stranger.CA = another
	err = provider(t, stranger).Send(t.Context(), note())
	require.ErrorContains(t, err, "STARTTLS: ")
	require.ErrorContains(t, err, "(SMTP_CA) sets the authority's certificate")
	assert.Len(t, p.mails, 1)
}

// TestHangs tests that a silent server delays the caller no longer than the call may take.
func TestHangs(t *testing.T) {
	t.Parallel()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = lis.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	err = provider(t, smtp.Config{Addr: lis.Addr().String()}).Send(ctx, note())
	require.Error(t, err)
	assert.NotErrorIs(t, err, notification.ErrRefused)
	assert.Less(t, time.Since(start), 5*time.Second)
}

// certificate returns a self-signed certificate for an address, and the file with its authority, which is itself.
func certificate(t *testing.T, ip net.IP) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{ip},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}
