package email_test

import (
	"math/rand/v2"
	"net/mail"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/email"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 64)
	label := strings.Repeat("b", 63)
	for _, good := range []string{
		"ann@example.com", "Ann.Lee+shop@EXAMPLE.com", "a@b.cn", "!#$%&'*+-/=?^_`{|}~@example.com", "1@1.example", "ann@xn--fsqu00a.xn--0zwm56d",
		long + "@example.com", "a@" + label + "." + label + ".com", "a@a-b.example", "-a@example.com", "a@3com.com",
		long + "@" + label + "." + label + "." + strings.Repeat("b", 59) + ".c", // 254
	} {
		require.NoError(t, email.Check(good), "%q", good)
		require.NoError(t, email.Public(good), "%q", good)
	}
	require.NoError(t, email.Check("root@localhost"))
	require.ErrorContains(t, email.Public("root@localhost"), "without a dot")
	for bad, want := range map[string]string{
		"": "no @", "ann": "no @", "ann.example.com": "no @",
		"@example.com": "no name", long + "a@example.com": "64 characters",
		long + "@" + label + "." + label + "." + strings.Repeat("b", 60) + ".c": "254 characters",
		".ann@example.com": "dot", "ann.@example.com": "dot", "a..n@example.com": "dot",
		"a b@example.com": "in front of the @", "a\tb@example.com": "in front of the @", "a\x00b@example.com": "in front of the @",
		"\x7fa@example.com": "in front of the @", `"ann"@example.com`: "in front of the @", `"a b"@example.com`: "in front of the @",
		`"a@b"@example.com`: "in front of the @", `a\b@example.com`: "in front of the @",
		"ann(work)@example.com": "in front of the @", "Ann <ann@example.com>": "in front of the @", "<ann@example.com>": "in front of the @",
		"a,b@example.com": "in front of the @", "a:b@example.com": "in front of the @", "a;b@example.com": "in front of the @",
		"用户@example.com": "in front of the @", "аnn@example.com": "in front of the @", "a\xffb@example.com": "in front of the @",
		"ann@": "no domain", "ann@example.com.": "empty part", "ann@.example.com": "empty part", "ann@a..b": "empty part",
		"ann@bob@example.com": "in its domain", "ann@例子.中国": "in its domain", "ann@exa_mple.com": "in its domain",
		"ann@exam ple.com": "in its domain", "ann@[192.0.2.1]": "in its domain", "ann@example.com(home)": "in its domain",
		"ann@example.com\r\nBcc: eve@example.com": "in its domain", "ann@example.com\n": "in its domain", "ann@example.com>": "in its domain",
		"ann@example.com, eve@example.com": "in its domain", " ann@example.com": "in front of the @", "ann@example.com ": "in its domain",
		"ann@-a.com": "hyphen", "ann@a-.com": "hyphen", "ann@a" + label + ".com": "63 characters", "ann@192.0.2.1": "a number",
	} {
		require.ErrorContains(t, email.Check(bad), want, "%q", bad)
		require.Error(t, email.Public(bad), "%q", bad)
	}
}

// TestEveryAddressIsOneForMail tests that what the rule takes is taken as it is by the parser of mail headers, too.
func TestEveryAddressIsOneForMail(t *testing.T) {
	t.Parallel()
	const characters = "abZ0.!#$%&'*+/=?^_`{|}~- \"\\(),:;<>[]\r\n"
	text := func() string {
		b := make([]byte, 1+rand.IntN(4))
		for i := range b {
			b[i] = characters[rand.IntN(len(characters))]
		}
		return string(b)
	}
	taken := 0
	for range 100_000 {
		address := text() + "@" + text()
		if email.Check(address) != nil {
			continue
		}
		taken++
		parsed, err := mail.ParseAddress(address)
		require.NoError(t, err, "%q", address)
		require.Equal(t, address, parsed.Address)
	}
	assert.Greater(t, taken, 100)
}
