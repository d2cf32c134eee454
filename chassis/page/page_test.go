package page_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"example.com/fourfold/chassis/page"
)

func TestSize(t *testing.T) {
	t.Parallel()
	assert.EqualValues(t, 20, page.Size(0))
	assert.EqualValues(t, 7, page.Size(7))
}

// TestCut: a page ends after size rows, or before it is too long, and the next goes on after its last row.
func TestCut(t *testing.T) {
	t.Parallel()
	const third = page.MaxBytes/3 + 1
	for _, c := range []struct {
		bytes []int // of each row
		rows  int
		next  string
	}{
		{nil, 0, ""},
		{[]int{1}, 1, ""},
		{[]int{1, 1, 1}, 3, ""},
		{[]int{1, 1, 1, 1}, 3, "2"},
		{[]int{third, third, third, 1}, 2, "1"},
		{[]int{1, 2 * page.MaxBytes, 1}, 1, "0"},
		{[]int{2 * page.MaxBytes, 1}, 1, "0"},
		{[]int{2 * page.MaxBytes}, 1, ""},
	} {
		all := make([]int, len(c.bytes))
		for i := range all {
			all[i] = i
		}
		list := page.Of("things")
		got, token := page.Cut(list, all, 3, func(i int) string { return fmt.Sprint(i) },
			func(i int) *wrapperspb.StringValue { return wrapperspb.String(strings.Repeat("x", c.bytes[i])) })
		next, err := list.After(token)
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprint(c.rows, c.next), fmt.Sprint(len(got), next), "rows of %v bytes", c.bytes)
	}
}

// TestFit: the last ones stay.
func TestFit(t *testing.T) {
	t.Parallel()
	long, short := wrapperspb.String(strings.Repeat("x", page.MaxBytes)), wrapperspb.String("x")
	type rows = []*wrapperspb.StringValue
	for _, c := range []struct {
		rows rows
		want int
	}{{nil, 0}, {rows{short, short}, 2}, {rows{long, short, short}, 2}, {rows{short, long}, 1}} {
		got := page.Fit(c.rows)
		assert.Len(t, got, c.want)
		assert.Equal(t, c.rows[len(c.rows)-c.want:], got)
	}
}

// TestTokens: a token is good for its list, asked for as before, to the letter.
func TestTokens(t *testing.T) {
	t.Parallel()
	list := page.Of("things", "ann", "RED")
	for _, position := range []string{"17", "01a2022f-0000-7000-8000-000000000000", "茶.1"} {
		token := list.Token(position)
		got, err := list.After(token)
		require.NoError(t, err)
		assert.Equal(t, position, got)
		for _, other := range []page.List{
			page.Of("things"), page.Of("things", "bob", "RED"), page.Of("things", "ann"), page.Of("things", "annRED"), page.Of("others", "ann", "RED"),
		} {
			_, err := other.After(token)
			require.ErrorIs(t, err, page.ErrToken, "%v", other)
		}
		raw, err := base64.RawURLEncoding.DecodeString(token)
		require.NoError(t, err)
		for _, spelled := range []string{
			position, strings.ToUpper(token), strings.ToLower(token), token + "=", token + "\n", token[:8] + "\n" + token[8:], " " + token, token[:len(token)-1],
			token + "A", "{" + token + "}", base64.RawURLEncoding.EncodeToString(append(raw, '0')), base64.RawURLEncoding.EncodeToString(raw[:len(raw)-1]),
			base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(raw), position, "18", 1))),
		} {
			_, err := list.After(spelled)
			require.ErrorIs(t, err, page.ErrToken, spelled)
			assert.ErrorContains(t, err, "page_token")
		}
	}
	first, err := list.After("")
	require.NoError(t, err)
	assert.Empty(t, first)
}

func TestAfterNumber(t *testing.T) {
	t.Parallel()
	list := page.DeadLetters("order", "g")
	for token, want := range map[string]int64{"": 0, list.Token("17"): 17} {
		got, err := list.AfterNumber(token)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	for _, token := range []string{list.Token("x"), list.Token("-1"), list.Token("0"), page.DeadLetters("order", "").Token("17")} {
		_, err := list.AfterNumber(token)
		require.ErrorIs(t, err, page.ErrToken)
	}
}
