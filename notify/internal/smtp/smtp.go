// Package smtp hands mails to a mail server. The protocol is github.com/wneessen/go-mail/smtp's; what is here are the times of each step, which
// the library's own client has one of for all, what a server must offer, and what an answer means for the mail.
package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"net/textproto"
	"regexp"
	"slices"

	"example.com/fourfold/chassis/email"
	"example.com/fourfold/notify/internal/notification"
	"example.com/fourfold/notify/internal/secret"
)

// Provider hands each mail over on a connection of its own.
type Provider struct {
	cfg  Config
	host string
	// local is whether host is this machine.
	local bool
	// mode is startTLS, implicitTLS, noTLS or whenOffered.
	mode string
	tls  *tls.Config
	// hello is empty when it is the connection's address.
	hello   string
	from    *mail.Address
	domain  string
	secrets secret.Texts
}

// secrets are what no error shows: a server may repeat what it was told.
func secrets(cfg Config) secret.Texts {
	return secret.Of(cfg.Password, "\x00"+cfg.Username+"\x00"+cfg.Password)
}

// Send hands n over. The server may take the Times for each step, all together the best part of an hour; when ctx ends, Send returns unless the
// server has the whole mail and only its answer is missing. That is awaited in any case: without it the mail would be sent twice.
//
// Send returns notification.ErrRefused when the server refuses the recipient or the text for good (5xx), or n.To is not an address, and
// notification.ErrUnknown when the server was given the whole mail and no answer came, or none that says whether it has it. What the server says
// before the recipient concerns us and not n: our name, password or sender can be corrected.
func (p *Provider) Send(ctx context.Context, n notification.Notification) error {
	if err := email.Check(n.To); err != nil {
		return fmt.Errorf("%w: the address %q %w", notification.ErrRefused, n.To, err)
	}
	return p.secrets.Hide(p.send(ctx, n))
}

func (p *Provider) send(ctx context.Context, n notification.Notification) error {
	s, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	times := p.cfg.Times
	if err := s.do("MAIL", times.Command, func() error { return s.client.Mail("<" + p.from.Address + ">") }); err != nil {
		return err
	}
	if err := s.do("RCPT", times.Command, func() error { return s.client.Rcpt("<" + n.To + ">") }); err != nil {
		return verdict(err)
	}
	var w io.WriteCloser
	if err := s.do("DATA", times.Data, func() (err error) { w, err = s.client.Data(); return err }); err != nil {
		return verdict(err)
	}
	for block := range slices.Chunk(p.message(n), 4<<10) {
		if err := s.do("the mail", times.Block, func() error { _, err := w.Write(block); return err }); err != nil {
			return err
		}
	}
	if !s.keep() {
		return s.why(context.Canceled)
	}
	err = s.do("the answer to the mail", times.Dot, w.Close)
	var said *textproto.Error
	switch {
	case err == nil, errors.As(err, &said) && said.Code/100 == 2:
		s.quit()
		return nil
	case said != nil && (said.Code/100 == 4 || said.Code/100 == 5):
		return verdict(err)
	}
	return fmt.Errorf("%w: %w", notification.ErrUnknown, err)
}

// verdict marks an error as a refusal for good if it concerns the recipient's address or mailbox or the mail (RFC 3463: 5.1, 5.2, 5.4, 5.6), or,
// from a server that says no more, is a code for one of these. Any other concerns us, like 5.7.1 "relay access denied", and ends when that is
// corrected.
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
	case slices.Contains([]string{"1", "2", "4", "6"}, about),
		(about == "" || about == "0") && slices.Contains([]int{501, 550, 551, 552, 553, 555}, said.Code):
		return fmt.Errorf("%w: %w", notification.ErrRefused, err)
	}
	return err
}

// enhancedCode matches class, subject and detail in front of a server's text.
var enhancedCode = regexp.MustCompile(`^5\.(\d{1,3})\.\d{1,3}\b`)
