package smtp_test

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// scripted is a mail server that does what a test says, the right things and the wrong ones.
type scripted struct {
	// extensions are the lines of the answer to EHLO behind the first; under TLS those of secure instead, if there are any.
	extensions, secure []string
	// answers are given to a command's verb one after another, the last one for ever; "." is the end of the mail, "" the connection's begin. An
	// answer may have several lines; "drop" closes the connection, "hang" says nothing.
	answers map[string][]string
	// think is how long it takes to answer a verb.
	think map[string]time.Duration
	// certificate is for STARTTLS, or from the first byte when implicit is set.
	certificate *tls.Certificate
	implicit    bool
	// onlyFQDN refuses other names in EHLO and HELO.
	onlyFQDN bool

	// ip is where it listens; on loopback when nil.
	ip net.IP

	addr string

	mu    sync.Mutex
	saw   []string // the commands; passwords decoded
	mails []string
	given map[string]int
}

// commands returns what the server was told so far.
func (s *scripted) commands() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.saw...)
}

// count returns how often the server was told verb.
func (s *scripted) count(verb string) (n int) {
	for _, c := range s.commands() {
		if first, _, _ := strings.Cut(c, " "); first == verb {
			n++
		}
	}
	return n
}

// open starts s on a port of its own.
func (s *scripted) open(t *testing.T) {
	t.Helper()
	if s.ip == nil {
		s.ip = loopback
	}
	lis, err := net.Listen("tcp", net.JoinHostPort(s.ip.String(), "0"))
	require.NoError(t, err)
	s.addr, s.given = lis.Addr().String(), map[string]int{}
	var conns sync.WaitGroup
	closed := make(chan struct{})
	conns.Go(func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				done := make(chan struct{})
				go func() {
					select {
					case <-closed:
					case <-done:
					}
					_ = conn.Close()
				}()
				s.serve(conn)
				close(done)
			})
		}
	})
	t.Cleanup(func() {
		_ = lis.Close()
		close(closed)
		conns.Wait()
	})
}

// answer returns the next answer to verb, or usual when the script has none.
func (s *scripted) answer(verb, usual string) string {
	time.Sleep(s.think[verb])
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.answers[verb]
	if len(all) == 0 {
		return usual
	}
	n := min(s.given[verb], len(all)-1)
	s.given[verb]++
	return all[n]
}

func (s *scripted) note(command string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saw = append(s.saw, command)
}

// serve speaks SMTP on conn until it ends.
func (s *scripted) serve(conn net.Conn) {
	secure := s.implicit
	if s.implicit {
		conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{*s.certificate}})
	}
	in := bufio.NewReader(conn)
	read := func() (string, bool) {
		line, err := in.ReadString('\n')
		return strings.TrimRight(line, "\r\n"), err == nil
	}
	// say reports whether the connection goes on.
	say := func(text string) bool {
		switch text {
		case "drop":
			return false
		case "hang":
			for { // until the client leaves
				if _, on := read(); !on {
					return false
				}
			}
		}
		_, err := fmt.Fprint(conn, strings.ReplaceAll(text, "\n", "\r\n")+"\r\n")
		return err == nil
	}
	if !say(s.answer("", "220 mail.example.com ready")) {
		return
	}
	for {
		line, on := read()
		if !on {
			return
		}
		verb, rest, _ := strings.Cut(line, " ")
		verb = strings.ToUpper(verb)
		if verb != "AUTH" {
			s.note(line)
		}
		usual := "250 2.0.0 fine"
		switch verb {
		case "EHLO", "HELO":
			if s.onlyFQDN && !strings.Contains(rest, ".") && !strings.HasPrefix(rest, "[") {
				usual = "550 5.7.1 " + rest + " is not a full name"
				break
			}
			usual = "250 mail.example.com"
			if verb == "EHLO" {
				usual = several(250, append([]string{"mail.example.com greets you"}, s.offers(secure)...))
			}
		case "AUTH":
			usual = s.auth(rest, secure, say, read)
		case "STARTTLS":
			if s.certificate == nil {
				usual = "502 5.5.1 what?"
				break
			}
			if !say(s.answer(verb, "220 go ahead")) {
				return
			}
			conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{*s.certificate}})
			in, secure = bufio.NewReader(conn), true
			continue
		case "DATA":
			answer := s.answer(verb, "354 go ahead")
			if !say(answer) {
				return
			}
			if !strings.HasPrefix(answer, "354") {
				continue
			}
			var mail strings.Builder
			for {
				line, on := read()
				if !on {
					return
				}
				if line == "." {
					break
				}
				mail.WriteString(strings.TrimPrefix(line, ".") + "\r\n")
			}
			s.mu.Lock()
			s.mails = append(s.mails, mail.String())
			s.mu.Unlock()
			verb = "."
		case "QUIT":
			usual = "221 bye"
		}
		if !say(s.answer(verb, usual)) || verb == "QUIT" {
			return
		}
	}
}

func (s *scripted) offers(secure bool) []string {
	if secure && s.secure != nil {
		return s.secure
	}
	return s.extensions
}

// auth asks for what the mechanism needs, notes it in plain text, and returns the answer.
func (s *scripted) auth(rest string, secure bool, say func(string) bool, read func() (string, bool)) string {
	mechanism, initial, _ := strings.Cut(rest, " ")
	decoded, _ := base64.StdEncoding.DecodeString(initial)
	said := []string{strings.ReplaceAll(string(decoded), "\x00", "|")}
	if !slices.ContainsFunc(s.offers(secure), func(line string) bool {
		return slices.Contains(strings.Fields(strings.ToUpper(strings.Replace(line, "=", " ", 1))), mechanism)
	}) {
		s.note("AUTH " + mechanism)
		return "504 5.5.4 unknown mechanism"
	}
	var prompts []string
	switch mechanism {
	case "LOGIN":
		prompts = []string{"Username:", "Password:"}
	case "CRAM-MD5":
		prompts = []string{"<1@mail.example.com>"}
	}
	for n, prompt := range prompts {
		say("334 " + base64.StdEncoding.EncodeToString([]byte(prompt)))
		line, _ := read()
		decoded, _ := base64.StdEncoding.DecodeString(line)
		if n == 0 {
			said = nil
		}
		said = append(said, string(decoded))
	}
	s.note("AUTH " + mechanism + " " + strings.Join(said, "|"))
	return "235 2.7.0 welcome"
}

// several returns an answer of several lines.
func several(code int, lines []string) string {
	var b strings.Builder
	for _, line := range lines[:len(lines)-1] {
		fmt.Fprintf(&b, "%d-%s\n", code, line)
	}
	fmt.Fprintf(&b, "%d %s", code, lines[len(lines)-1])
	return b.String()
}
