package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"
)

// session is one connection to the server.
type session struct {
	p      *Provider
	client *smtp.Client
	conn   net.Conn
	// ctx closes the connection when it ends, until keep.
	ctx  context.Context
	keep func() (kept bool)
	// secure is whether the connection is encrypted, left whether quit ends it.
	secure, left bool
}

// quitWithin bounds how long the server may take for QUIT.
const quitWithin = 5 * time.Second

// longest bounds what a server may say in one session, certificates included: it is held in memory line by line.
const longest = 1 << 20

// bounded is a connection from which not more than left bytes are read.
type bounded struct {
	net.Conn
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("the server said more than a mail server has to say")
	}
	n, err := b.Conn.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// dial proceeds to the point at which the server accepts a mail.
func (p *Provider) dial(ctx context.Context) (*session, error) {
	dialing, cancel := context.WithTimeout(ctx, p.cfg.Times.Dial)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(dialing, "tcp", p.cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	s := &session{p: p, ctx: ctx, conn: &bounded{conn, longest}}
	s.keep = context.AfterFunc(ctx, func() { _ = conn.Close() })
	if err := s.begin(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// begin greets, encrypts and signs in.
func (s *session) begin() error {
	command := s.p.cfg.Times.Command
	name := s.p.hello
	if name == "" {
		name = literal(s.conn.(*bounded).LocalAddr())
	}
	if err := s.open(); err != nil {
		return err
	}
	if err := s.do("EHLO "+name, command, func() error { return s.client.Hello(name) }); err != nil {
		return fmt.Errorf("%w: email.smtp.hello (SMTP_HELLO) sets the name", err)
	}
	offered, _ := s.client.Extension("STARTTLS")
	// A server is asked for what it does not offer, here and in auth: the library does not see what is offered in small letters.
	if s.p.mode == startTLS || s.p.mode == whenOffered && offered {
		if err := s.do("STARTTLS", command, func() error { return s.client.StartTLS(s.p.tls) }); err != nil {
			return fmt.Errorf("%w%s", err, s.p.hint(err, offered))
		}
		s.secure = true
	}
	if s.p.cfg.Username == "" {
		return nil
	}
	return s.auth()
}

// open reads the server's first words, under TLS when that is implicit.
func (s *session) open() error {
	if s.p.mode == implicitTLS {
		secure := tls.Client(s.conn, s.p.tls)
		if err := s.do("TLS", s.p.cfg.Times.Command, func() error { return secure.HandshakeContext(s.ctx) }); err != nil {
			return fmt.Errorf("%w%s", err, s.p.hint(err, true))
		}
		s.conn, s.secure = secure, true
	}
	return s.do("the greeting", s.p.cfg.Times.Command, func() (err error) {
		s.client, err = smtp.NewClient(s.conn, s.p.host)
		if err == nil {
			s.client.SkipSMTPUTF8(true) // addresses are ASCII, and so is the mail
		}
		return err
	})
}

// hint says what may be done about err of a handshake.
func (p *Provider) hint(err error, offered bool) string {
	var (
		said        *textproto.Error
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &certificate) && p.mode == whenOffered:
		return ": email.smtp.ca (SMTP_CA) sets the authority's certificate; SMTP_TLS=none sends without TLS, on this machine"
	case errors.As(err, &certificate):
		return ": email.smtp.ca (SMTP_CA) sets the authority's certificate, and SMTP_ADDR has to have the name that is in the server's"
	case errors.As(err, &record):
		return ": the server does not speak TLS from the first byte: set email.smtp.tls (SMTP_TLS) to starttls"
	case errors.As(err, &said) && !offered:
		return ": the server offers no STARTTLS: set email.smtp.tls (SMTP_TLS) to implicit if its port is for TLS, or to none to send without"
	}
	return ""
}

// auth signs in by the first mechanism that the server offers and we know.
func (s *session) auth() error {
	if !s.secure && !s.toThisMachine() {
		return errors.New("AUTH: the connection is not encrypted, and leads to another machine: the password was not sent")
	}
	user, password, host := s.p.cfg.Username, s.p.cfg.Password, s.p.host
	offered := s.mechanisms()
	if len(offered) == 0 {
		if err := s.do("AUTH PLAIN", s.p.cfg.Times.Command, func() error { return s.client.Auth(smtp.PlainAuth("", user, password, host, true)) }); err != nil {
			return fmt.Errorf("%w: the server offers no AUTH: take another port, or leave username and password (SMTP_USERNAME, SMTP_PASSWORD) out", err)
		}
		return nil
	}
	for _, m := range []struct {
		name string
		auth func() smtp.Auth
	}{
		{"PLAIN", func() smtp.Auth { return smtp.PlainAuth("", user, password, host, true) }},
		{"LOGIN", func() smtp.Auth { return smtp.LoginAuth(user, password, host, true) }},
		{"SCRAM-SHA-256", func() smtp.Auth { return smtp.ScramSHA256Auth(user, password) }},
		{"SCRAM-SHA-1", func() smtp.Auth { return smtp.ScramSHA1Auth(user, password) }},
		{"CRAM-MD5", func() smtp.Auth { return smtp.CRAMMD5Auth(user, password) }},
	} {
		if slices.Contains(offered, m.name) {
			return s.do("AUTH "+m.name, s.p.cfg.Times.Command, func() error { return s.client.Auth(m.auth()) })
		}
	}
	return fmt.Errorf("AUTH: the server offers %s, and here are PLAIN, LOGIN, SCRAM-SHA-256, SCRAM-SHA-1 and CRAM-MD5", strings.Join(offered, ", "))
}

// mechanisms returns the server's, in capitals. Some servers write AUTH=LOGIN.
func (s *session) mechanisms() []string {
	_, offered := s.client.Extension("AUTH")
	all := strings.Fields(strings.ToUpper(offered))
	for _, name := range []string{"PLAIN", "LOGIN", "CRAM-MD5"} {
		if found, more := s.client.Extension("AUTH=" + name); found && len(all) == 0 {
			all = append([]string{name}, strings.Fields(strings.ToUpper(more))...)
		}
	}
	return all
}

// toThisMachine reports whether the host is this machine by name and by address.
func (s *session) toThisMachine() bool {
	tcp, ok := s.conn.RemoteAddr().(*net.TCPAddr)
	return s.p.local && ok && tcp.IP.IsLoopback()
}

// do takes one step within d. Its error begins with the step's name.
func (s *session) do(step string, d time.Duration, take func() error) error {
	err := s.conn.SetDeadline(time.Now().Add(d))
	if err == nil {
		err = take()
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", step, s.why(err))
}

// why returns err, or why the connection was closed.
func (s *session) why(err error) error {
	var timeout net.Error
	switch {
	case s.ctx.Err() != nil && (errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled)):
		return context.Cause(s.ctx)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the server closed the connection: %w", err)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("the server took too long: %w", err)
	}
	return err
}

// close ends the connection, unless quit does.
func (s *session) close() {
	s.keep()
	if !s.left {
		_ = s.conn.Close()
	}
}

// quit says farewell and ends the connection, in the background, so that a server that is slow to answer delays nobody.
func (s *session) quit() {
	s.left = true
	go func() {
		_ = s.conn.SetDeadline(time.Now().Add(quitWithin))
		_ = s.client.Quit()
		_ = s.conn.Close()
	}()
}
