package smtp

import (
	"bytes"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"time"

	"example.com/fourfold/notify/internal/notification"
)

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
