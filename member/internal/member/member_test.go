package member_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/fourfold/member/internal/member"
)

func TestNewBringsDetailsIntoTheirNormalForm(t *testing.T) {
	t.Parallel()
	got, err := member.New("id-1", " +86 138-0013-8000 ", " Ann.Lee@Example.COM\t", "  李安 Ann ", member.Shopper)
	require.NoError(t, err)
	assert.Equal(t, member.Member{
		ID: "id-1", Phone: "+8613800138000", Email: "ann.lee@example.com", Name: "李安 Ann", Role: member.Shopper,
	}, got)
}

func TestNewNamesTheBadDetail(t *testing.T) {
	t.Parallel()
	const phone, email, name = "+8613800138000", "ann@example.com", "Ann"
	for _, c := range []struct {
		phone, email, name string
		role               member.Role
		want               string
	}{
		{"13800138000", email, name, member.Shopper, "phone"},
		{"", email, name, member.Shopper, "phone"},
		{"+", email, name, member.Shopper, "phone"},
		{"+0123456789", email, name, member.Shopper, "phone"},
		{"+123456", email, name, member.Shopper, "phone"},
		{"+1234567890123456", email, name, member.Shopper, "phone"},
		{"+861380013800x", email, name, member.Shopper, "phone"},
		{"++8613800138000", email, name, member.Shopper, "phone"},
		{"+８６１３８００１３８", email, name, member.Shopper, "phone"},
		{phone, "", name, member.Shopper, "email"},
		{phone, "ann", name, member.Shopper, "email"},
		{phone, "@example.com", name, member.Shopper, "email"},
		{phone, "ann@", name, member.Shopper, "email"},
		{phone, "a@b@c", name, member.Shopper, "email"},
		{phone, "an n@example.com", name, member.Shopper, "email"},
		{phone, "аnn@example.com", name, member.Shopper, "email"}, // the first letter is Cyrillic
		{phone, strings.Repeat("a", 200) + "@example.com", name, member.Shopper, "email"},
		{phone, "an..n@example.com", name, member.Shopper, "email"}, // what notify could not send to
		{phone, ".ann@example.com", name, member.Shopper, "email"},
		{phone, strings.Repeat("a", 65) + "@example.com", name, member.Shopper, "email"},
		{phone, `"ann"@example.com`, name, member.Shopper, "email"},
		{phone, "ann(work)@example.com", name, member.Shopper, "email"},
		{phone, "Ann <ann@example.com>", name, member.Shopper, "email"},
		{phone, "ann@example.com.", name, member.Shopper, "email"},
		{phone, "ann@例子.中国", name, member.Shopper, "email"},
		{phone, "ann@[192.0.2.1]", name, member.Shopper, "email"},
		{phone, "root@localhost", name, member.Shopper, "email"}, // the mail server's own
		{phone, "ann@example.com\r\nBcc: eve@example.com", name, member.Shopper, "email"},
		{phone, email, "", member.Shopper, "name"},
		{phone, email, " \t ", member.Shopper, "name"},
		{phone, email, "An\nn", member.Shopper, "name"},
		{phone, email, strings.Repeat("安", 101), member.Shopper, "name"},
		{phone, email, name, "admin", "role"},
		{phone, email, name, "", "role"},
	} {
		got, err := member.New("id", c.phone, c.email, c.name, c.role)
		require.ErrorIs(t, err, member.ErrInvalid, "%+v", c)
		assert.ErrorContains(t, err, ": "+c.want+": ", "%+v", c)
		assert.Zero(t, got)
	}
	_, err := member.New("id", phone, email, strings.Repeat("安", 100), member.Operator)
	require.NoError(t, err)
}

func TestParseLogin(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]member.Login{
		"ann@example.com":       {Email: "ann@example.com"},
		" Ann@EXAMPLE.com ":     {Email: "ann@example.com"},
		"+8613800138000":        {Phone: "+8613800138000"},
		" +86 (138) 0013.8000 ": {Phone: "+8613800138000"},
		"8613800138000":         {},
		"ann":                   {},
		"用户@例子.中国":              {},
		"an..n@example.com":     {Email: "an..n@example.com"}, // signed up before New refused it
		"root@localhost":        {Email: "root@localhost"},
		"":                      {},
		"@":                     {},
	} {
		assert.Equal(t, want, member.ParseLogin(text), "%q", text)
	}
}

// TestWhatSignedUpCanSignIn tests that signing in finds the member who signed up, however phone and email are written.
func TestWhatSignedUpCanSignIn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		phone := rapid.StringMatching(` ?\+[1-9][0-9]{2}[ .-]?[0-9]{4,10} ?`).Draw(t, "phone")
		email := rapid.StringMatching(` ?[A-Za-z0-9+_-]{1,10}(\.[A-Za-z0-9+_-]{1,9})?@[A-Za-z0-9]{1,10}\.[A-Za-z]{2,5} ?`).Draw(t, "email")
		m, err := member.New("id", phone, email, "Ann", member.Shopper)
		require.NoError(t, err)
		for _, same := range []string{email, strings.ToUpper(email), m.Email} {
			assert.Equal(t, member.Login{Email: m.Email}, member.ParseLogin(same))
		}
		for _, same := range []string{phone, m.Phone} {
			assert.Equal(t, member.Login{Phone: m.Phone}, member.ParseLogin(same))
		}
	})
}
