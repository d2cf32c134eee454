// Package secret keeps secrets out of errors, which operators read in logs and in the notifications' last_error.
package secret

import (
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
	"strings"
)

// Texts are what must not be shown. Use Of.
type Texts []string

// shortest is the length from which a text is hidden: a shorter one is part of too many words, and no secret.
const shortest = 4

// Of returns texts and their forms in a URL and in base64.
func Of(texts ...string) Texts {
	var all Texts
	for _, text := range texts {
		all = append(all, text, url.QueryEscape(text), url.PathEscape(text), base64.StdEncoding.EncodeToString([]byte(text)))
	}
	all = slices.DeleteFunc(all, func(text string) bool { return len(text) < shortest })
	// The longest first: it may have another one in it.
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	return slices.Compact(all)
}

// OfURL returns what may be a secret in u: its user and password, the values of its query, and a path's parts as long as a key is.
func OfURL(u *url.URL) []string {
	password, _ := u.User.Password()
	all := []string{u.String(), u.RequestURI(), u.User.String(), u.User.Username(), password, u.RawQuery, u.Fragment}
	for _, values := range u.Query() {
		all = append(all, values...)
	}
	for part := range strings.SplitSeq(u.Path, "/") {
		if len(part) >= 12 {
			all = append(all, part)
		}
	}
	if len(u.Path) >= 12 {
		all = append(all, u.Path, u.EscapedPath())
	}
	return all
}

// Hide returns err, or, if its text has one of t in it, an error with *** in place of that and the same chain.
func (t Texts) Hide(err error) error {
	if err == nil {
		return nil
	}
	said := err.Error()
	text := said
	for _, secret := range t {
		text = strings.ReplaceAll(text, secret, "***")
	}
	if text == said {
		return err
	}
	return hidden{text, err}
}

// hidden is an error without the text of the one that it wraps.
type hidden struct {
	text string
	err  error
}

func (h hidden) Error() string { return h.text }

// Is and As look at the chain. There is no Unwrap, by which the text would be had again.
func (h hidden) Is(target error) bool { return errors.Is(h.err, target) }

func (h hidden) As(target any) bool { return errors.As(h.err, target) }
