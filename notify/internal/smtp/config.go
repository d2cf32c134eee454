package smtp

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"os"
	"strings"
	"time"

	"example.com/fourfold/chassis/authorities"
	"example.com/fourfold/chassis/email"
)

// Config describes the mail server.
type Config struct {
	// Addr is host:port.
	Addr string `yaml:"addr"`
	// TLS is starttls, implicit (from the first byte), or none. When empty, it is implicit for port 465, else starttls; on this machine STARTTLS
	// is used then when the server offers it. The certificate must be the host's.
	TLS string `yaml:"tls"`
	// CA is a file with the PEM certificates of the authorities to trust, in place of the machine's when it is not empty.
	CA string `yaml:"ca"`
	// Hello is the name for EHLO: a domain with a dot, or an address literal as [192.0.2.1]. When empty, it is the machine's name if that is a full
	// one, else the literal of the address that the connection comes from.
	Hello string `yaml:"hello"`
	// From is an address, or Name <address>.
	From string `yaml:"from"`
	// Username and Password are for AUTH, both or none. They are sent only under TLS or to this machine.
	Username string `yaml:"username"`
	Password string `yaml:"password"`
	// Times bound the steps; a zero one is the standard's.
	Times Times `yaml:"times"`
}

// Times are how long the server may take for one step (RFC 5321, 4.5.3.2). The answer is awaited that long, however many lines it has.
type Times struct {
	// Dial is for the connection, of which the standard says nothing; 30 s.
	Dial time.Duration `yaml:"dial"`
	// Command is for the server's first words and for each of EHLO, STARTTLS with its handshake, AUTH, MAIL and RCPT; 5 min.
	Command time.Duration `yaml:"command"`
	// Data is for the answer to DATA; 2 min.
	Data time.Duration `yaml:"data"`
	// Block is for each block of the mail; 3 min.
	Block time.Duration `yaml:"block"`
	// Dot is for the answer to the whole mail; 10 min. It is best not shortened: a server that has taken the mail would be given it again.
	Dot time.Duration `yaml:"dot"`
}

// withDefaults returns t with the standard's times in place of zero ones.
func (t Times) withDefaults() Times {
	return Times{
		Dial:    cmp.Or(t.Dial, 30*time.Second),
		Command: cmp.Or(t.Command, 5*time.Minute),
		Data:    cmp.Or(t.Data, 2*time.Minute),
		Block:   cmp.Or(t.Block, 3*time.Minute),
		Dot:     cmp.Or(t.Dot, 10*time.Minute),
	}
}

// How the connection is encrypted: Config.TLS, and whenOffered, which only a server on this machine has.
const (
	startTLS    = "starttls"
	implicitTLS = "implicit"
	noTLS       = "none"
	whenOffered = "when offered"
)

// New returns a Provider. It fails for a configuration that cannot work; the error names the setting and says what to do.
func New(cfg Config) (*Provider, error) {
	cfg.Times = cfg.Times.withDefaults()
	host, port, local, err := address(cfg.Addr)
	if err != nil {
		return nil, err
	}
	p := &Provider{cfg: cfg, host: host, local: local, secrets: secrets(cfg)}
	var from, hello, ca error
	if p.from, from = sender(cfg.From); from == nil {
		p.domain = p.from.Address[strings.LastIndexByte(p.from.Address, '@')+1:]
	}
	p.hello, hello = p.helloName()
	p.tls, ca = p.tlsConfig()
	p.mode, err = mode(cfg.TLS, port, local)
	return p, errors.Join(from, hello, ca, err, p.check())
}

// address returns the host of host:port, the port's number, and whether the host is this machine. Its error does not quote addr, in which there
// may be a password.
func address(addr string) (host string, port int, local bool, err error) {
	host, service, err := net.SplitHostPort(addr)
	if err == nil {
		port, err = net.DefaultResolver.LookupPort(context.Background(), "tcp", service)
	}
	ip := net.ParseIP(host)
	if err != nil || port == 0 || ip == nil && !isHost(host) {
		return "", 0, false, errors.New("email.smtp.addr (SMTP_ADDR) is not host:port: set it to the mail server's, as mail.example.com:587, " +
			"without a scheme, user or path, or email.provider (EMAIL_PROVIDER) to demo")
	}
	return host, port, isLocal(host) || ip.IsLoopback(), nil
}

// isHost reports whether name may be a host's: more than a domain, as containers have names with an underscore.
func isHost(name string) bool {
	return name != "" && strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789.-_") == "" && len(name) <= 253
}

// isLocal reports whether name is one of this machine.
func isLocal(name string) bool {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	return name == "localhost" || strings.HasSuffix(name, ".localhost") || name == "localhost.localdomain"
}

// sender parses email.smtp.from.
func sender(text string) (*mail.Address, error) {
	from, err := mail.ParseAddress(text)
	if err != nil {
		return nil, errors.New("email.smtp.from (SMTP_FROM) is no address: set it to one, as Shop <shop@example.com>, " +
			"or email.provider (EMAIL_PROVIDER) to demo")
	}
	if err := email.Check(from.Address); err != nil {
		return nil, fmt.Errorf("email.smtp.from (SMTP_FROM): the address %w", err)
	}
	return from, nil
}

// mode returns how the connection is encrypted.
func mode(setting string, port int, local bool) (string, error) {
	switch {
	case setting == startTLS, setting == implicitTLS, setting == noTLS:
		return setting, nil
	case setting != "":
		return "", fmt.Errorf("email.smtp.tls (SMTP_TLS) is %q: set it to starttls, implicit or none, or leave it empty", setting)
	case port == 465:
		return implicitTLS, nil
	case local:
		return whenOffered, nil
	}
	return startTLS, nil
}

// check refuses what does not go together.
func (p *Provider) check() error {
	var errs []error
	if (p.cfg.Username == "") != (p.cfg.Password == "") {
		errs = append(errs, errors.New("email.smtp.username (SMTP_USERNAME) and password (SMTP_PASSWORD): set both or none"))
	}
	if p.mode == noTLS && p.cfg.Username != "" && !p.local {
		errs = append(errs, errors.New("email.smtp.tls (SMTP_TLS) is none, and a password goes to another machine under TLS only: "+
			"set it to starttls or implicit, or leave username and password (SMTP_USERNAME, SMTP_PASSWORD) out"))
	}
	t := p.cfg.Times
	if min(t.Dial, t.Command, t.Data, t.Block, t.Dot) <= 0 {
		errs = append(errs, errors.New("email.smtp.times: dial, command, data, block and dot are times above 0, such as 5m"))
	}
	return errors.Join(errs...)
}

// tlsConfig returns what a server must prove.
func (p *Provider) tlsConfig() (*tls.Config, error) {
	cfg := &tls.Config{ServerName: p.host, MinVersion: tls.VersionTLS12}
	if p.cfg.CA == "" {
		return cfg, nil
	}
	var err error
	if cfg.RootCAs, err = authorities.Read(p.cfg.CA); err != nil {
		return nil, fmt.Errorf("email.smtp.ca (SMTP_CA): %w: set it to a file with the certificates (PEM) of the mail server's authority", err)
	}
	return cfg, nil
}

// helloName returns the name for EHLO, or "" when it is the connection's address.
func (p *Provider) helloName() (string, error) {
	if name := p.cfg.Hello; name != "" {
		if isLiteral(name) || isFull(name) || p.local && isHost(name) {
			return name, nil
		}
		return "", fmt.Errorf("email.smtp.hello (SMTP_HELLO) is %q: set it to this machine's full name, as shop.example.com, "+
			"or to its address, as [192.0.2.1] or [IPv6:2001:db8::1], or leave it empty", name)
	}
	if name, err := os.Hostname(); err == nil && isFull(name) {
		return name, nil
	}
	return "", nil
}

// isFull reports whether name is a domain of more than one part, and not this machine's own name for itself.
func isFull(name string) bool {
	return email.Public("a@"+name) == nil && !isLocal(name) && !strings.HasSuffix(strings.ToLower(name), ".localdomain")
}

// isLiteral reports whether text is an address literal of RFC 5321, 4.1.3.
func isLiteral(text string) bool {
	inner, opened := strings.CutPrefix(text, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	v6, isV6 := strings.CutPrefix(inner, "IPv6:")
	ip := net.ParseIP(v6)
	return opened && closed && ip != nil && isV6 == (ip.To4() == nil)
}

// literal returns the address literal of an address of this machine.
func literal(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	switch {
	case !ok:
		return "[127.0.0.1]"
	case tcp.IP.To4() != nil:
		return "[" + tcp.IP.String() + "]"
	}
	return "[IPv6:" + tcp.IP.String() + "]"
}
