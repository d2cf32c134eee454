// Package smtp hands mails to a mail server.
package smtp

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"time"

	"example.com/fourfold/notify/internal/notification"
)

// Config describes the mail server.
type Config struct {
	// Addr is host:port. STARTTLS is used when the server offers it; the certificate must be the host's then.
	Addr string `yaml:"addr"`
	// From is an address, or Name <address>.
	From string `yaml:"from"`
	// Username and Password are for AUTH PLAIN, both or none. They are sent only under TLS or to this machine.
	Username string `yaml:"username"`
	Password string `yaml:"password"`
	// Roots are the trusted roots of certificates; the machine's when nil.
	Roots *x509.CertPool `yaml:"-"`
}

// Provider hands each mail over on a connection of its own.
type Provider struct {
	cfg    Config
	host   string
	from   *mail.Address
	domain string
}

// New returns a Provider. It fails for a configuration that cannot work.
func New(cfg Config) (*Provider, error) {
	const otherwise = ", or email.provider (EMAIL_PROVIDER) to demo"
	host, _, err := net.SplitHostPort(cfg.Addr)
	if err != nil || host == "" {
		return nil, errors.New("email.smtp.addr (SMTP_ADDR) is not host:port: set it to the mail server's" + otherwise)
	}
	from, err := mail.ParseAddress(cfg.From)
	if err != nil {
		return nil, errors.New("email.smtp.from (SMTP_FROM) is no address: set it to one, as Shop <shop@example.com>" + otherwise)
	}
	if (cfg.Username == "") != (cfg.Password == "") {
		return nil, errors.New("email.smtp.username (SMTP_USERNAME) and password (SMTP_PASSWORD): set both or none")
	}
	return &Provider{cfg, host, from, from.Address[strings.LastIndexByte(from.Address, '@')+1:]}, nil
}

// Send hands n over. It returns notification.ErrRefused when the server refuses the recipient or the text for good (5xx), or n.To is not an
// address. What the server says before that concerns us and not n: our name, password or sender can be corrected.
func (p *Provider) Send(ctx context.Context, n notification.Notification) error {
	if to, err := mail.ParseAddress(n.To); err != nil || to.Address != n.To {
		return fmt.Errorf("%w: %q is no e-mail address", notification.ErrRefused, n.To)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.cfg.Addr)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	c, err := smtp.NewClient(conn, p.host)
	if err != nil {
		_ = conn.Close()
		return err
	}
	defer func() { _ = c.Close() }()
	if err := p.begin(c); err != nil {
		return err
	}
	if err := c.Rcpt(n.To); err != nil {
		return verdict(err)
	}
	w, err := c.Data()
	if err != nil {
		return verdict(err)
	}
	if _, err := w.Write(p.message(n)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return verdict(err)
	}
	_ = c.Quit() // it has the mail
	return nil
}

// begin proceeds to the point at which the server accepts a recipient.
func (p *Provider) begin(c *smtp.Client) error {
	if offered, _ := c.Extension("STARTTLS"); offered {
		if err := c.StartTLS(&tls.Config{ServerName: p.host, RootCAs: p.cfg.Roots, MinVersion: tls.VersionTLS12}); err != nil {
			return fmt.Errorf("STARTTLS: %w", err)
		}
	}
	if p.cfg.Username != "" {
		if err := c.Auth(smtp.PlainAuth("", p.cfg.Username, p.cfg.Password, p.host)); err != nil {
			return fmt.Errorf("AUTH: %w", err)
		}
	}
	return c.Mail(p.from.Address)
}

// verdict marks an error as a refusal for good if it concerns the recipient's address or mailbox or the mail (RFC 3463: 5.1, 5.2, 5.6), or, from
// a server that says no more, is 550, 551 or 553. Any other concerns us, like 5.7.1 "relay access denied", and ends when that is corrected.
func verdict(err error) error {
	var said *textproto.Error
	if !errors.As(err, &said) || said.Code < 500 {
		return err
	}
	about, enhanced := "", enhancedCode.FindStringSubmatch(said.Msg)
	if enhanced != nil {
		about = enhanced[1]
	}
	switch {
	case slices.Contains([]string{"1", "2", "6"}, about),
		(about == "" || about == "0") && slices.Contains([]int{550, 551, 553}, said.Code):
		return fmt.Errorf("%w: %w", notification.ErrRefused, err)
	}
	return err
}

// enhancedCode matches class, subject and detail in front of a server's text.
var enhancedCode = regexp.MustCompile(`^5\.(\d{1,3})\.\d{1,3}\b`)

// message returns n in the form of RFC 5322, the same each time. Recipient, subject and text are not trusted: the address was checked, the
// subject is encoded when it is more than printable ASCII, and the text cannot leave its part.
func (p *Provider) message(n notification.Notification) []byte {
	var b bytes.Buffer
	for _, h := range [][2]string{
		{"From", p.from.String()},
		{"To", (&mail.Address{Address: n.To}).String()},
		{"Subject", strings.ReplaceAll(mime.BEncoding.Encode("utf-8", n.Subject), "?= =?", "?=\r\n =?")},
		{"Date", n.CreatedAt.Format(time.RFC1123Z)},
		{"Message-ID", "<" + n.ID + "@" + p.domain + ">"},
		{"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		b.WriteString(h[0] + ": " + h[1] + "\r\n")
	}
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write([]byte(n.Text)) // into memory
	_ = w.Close()
	return b.Bytes()
}
