package password

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/member/internal/member"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	ann := member.Member{Phone: "+8613800138000", Email: "ann.chovey@example.com", Name: "Ann Chovey"}
	for _, p := range []string{"correct horse", "密码是一二三四五", "password 3", strings.Repeat("ab", 64)[1:] + "c", "Tr0ub4dor&3", "12 345 678"} {
		assert.NoError(t, Check(p, ann), p)
	}
	for _, p := range []string{
		"", "short", "seven77", strings.Repeat("ab", 65),
		"password", "PassWord", "12345678", "iloveyou", "trustno1", "baseball", "sunshine",
		"aaaaaaaa", "        ", "abababab", "abcabcabc", "1234123412341234", "密密密密密密密密",
		"23456789", "1234567890", "98765432", "abcdefgh", "zyxwvuts",
		"ann.chovey@example.com", "ann.chovey", "ann.chovey1", "Ann Chovey!", "8613800138000", "+8613800138000", "13800138000", "00138000",
		"ｐａｓｓｗｏｒｄ", "sunshin\u0065",
		"fourfold", "Fourfold123",
	} {
		require.ErrorIs(t, Check(p, ann), member.ErrInvalid, p)
		assert.ErrorContains(t, Check(p, ann), "password", p)
	}
}

func TestCommonPasswords(t *testing.T) {
	t.Parallel()
	assert.Greater(t, len(common()), 10000)
	for p := range common() {
		assert.ErrorIs(t, Check(p, member.Member{}), member.ErrInvalid)
		assert.ErrorIs(t, Check(strings.ToUpper(p), member.Member{}), member.ErrInvalid)
	}
}
