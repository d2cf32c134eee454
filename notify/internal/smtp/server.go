package smtp

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"example.com/fourfold/notify/internal/notification"
)

// Server is what a mail server supports.
type Server struct {
	// Name is what it calls itself, Hello what we do.
	Name, Hello string
	// TLS is the version, or none.
	TLS string
	// Auth are the ways to sign in, Extensions the others of those that matter here.
	Auth, Extensions []string
}

// Look signs in, as Send does, and returns what the server supports.
func (p *Provider) Look(ctx context.Context) (Server, error) {
	s, err := p.dial(ctx)
	if err != nil {
		return Server{}, p.secrets.Hide(err)
	}
	defer s.close()
	seen := Server{Name: s.client.HelloResponse(), Hello: p.hello, TLS: "none", Auth: s.mechanisms()}
	if seen.Hello == "" {
		seen.Hello = literal(s.conn.LocalAddr())
	}
	if state, secure := s.client.TLSConnectionState(); secure {
		seen.TLS = tls.VersionName(state.Version)
	}
	for _, name := range []string{"STARTTLS", "SIZE", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"} {
		if offered, with := s.client.Extension(name); offered {
			if with != "" {
				name += " " + with
			}
			seen.Extensions = append(seen.Extensions, name)
		}
	}
	s.quit()
	return seen, nil
}

// Announce is background work that logs what the server supports, or why nothing can be sent by it, and then tries again until it can. It ends
// without an error: a mail server that is away keeps nothing from starting.
func (p *Provider) Announce(ctx context.Context) error {
	for failures := int32(1); ; failures++ {
		s, err := p.Look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			slog.InfoContext(ctx, "mail server", "addr", p.cfg.Addr, "name", s.Name, "hello", s.Hello, "tls", s.TLS, "auth", s.Auth,
				"extensions", s.Extensions)
			return nil
		}
		slog.WarnContext(ctx, "mail server: nothing can be sent by it now", "addr", p.cfg.Addr, "err", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(notification.Pause(failures+4, 10*time.Minute)): // from 16 s on
		}
	}
}
