// Package email says which e-mail addresses there are, to those who take them and to those who send to them.
package email

import (
	"errors"
	"strings"
)

// Longest is the number of characters that an address may have: RFC 5321 allows a path of 256, of which < and > are two.
const Longest = 254

// Check returns an error that says what is wrong with address, or nil when every mail server takes it as it is: name@domain in ASCII, without
// quotes, comments, a display name or an address literal (the Mailbox of RFC 5321 with a Dot-string and a Domain). The name has up to 64
// characters, the domain's parts up to 63. An address in another script is refused: not every server knows SMTPUTF8. Its domain may be written as
// xn--….
//
// Check says nothing about whether somebody is reached there. It accepts a domain of one part, as in root@localhost, which the server's own
// people have; see Public.
func Check(address string) error {
	if len(address) > Longest {
		return errors.New("is longer than 254 characters")
	}
	name, domain, found := strings.Cut(address, "@")
	switch {
	case !found:
		return errors.New("has no @")
	case name == "":
		return errors.New("has no name in front of the @")
	case len(name) > 64:
		return errors.New("has more than 64 characters in front of the @")
	case strings.Trim(name, ".") != name, strings.Contains(name, ".."):
		return errors.New("has a dot at the begin or the end of the name, or two dots in a row")
	case strings.ContainsFunc(name, func(r rune) bool { return r != '.' && !inName(r) }):
		return errors.New("has a character in front of the @ that is not a letter of a to z, a digit or one of .!#$%&'*+-/=?^_`{|}~")
	}
	return checkDomain(domain)
}

// Public is Check for the address of a stranger, whose domain is one of the Internet: it has at least two parts. Otherwise a stranger would have
// mail sent to root@localhost, on the mail server.
func Public(address string) error {
	if err := Check(address); err != nil {
		return err
	}
	if !strings.Contains(address[strings.LastIndexByte(address, '@'):], ".") {
		return errors.New("has a domain without a dot")
	}
	return nil
}

func checkDomain(domain string) error {
	labels := strings.Split(domain, ".")
	for _, label := range labels {
		switch {
		case label == "":
			return errors.New("has no domain behind the @, or one with an empty part")
		case len(label) > 63:
			return errors.New("has a part of the domain with more than 63 characters")
		case strings.ContainsFunc(label, func(r rune) bool { return r != '-' && !letterOrDigit(r) }):
			return errors.New("has a character in its domain that is not a letter of a to z, a digit, a hyphen or a dot; " +
				"a domain in another script is written as xn--…")
		case strings.Trim(label, "-") != label:
			return errors.New("has a hyphen at the begin or the end of a part of the domain")
		}
	}
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return errors.New("has a number in place of a domain")
	}
	return nil
}

func letterOrDigit(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// inName reports whether r is an atext of RFC 5322.
func inName(r rune) bool { return letterOrDigit(r) || strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r) }
