package secret_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/notify/internal/secret"
)

func TestHide(t *testing.T) {
	t.Parallel()
	errWhy := errors.New("why")
	u, err := url.Parse("https://shop:pass%2Fword@sms.example.com/hooks/T0PSECRETKEY/send?key=quer%2By&n=1")
	require.NoError(t, err)
	texts := secret.Of(append(secret.OfURL(u), "t0ken", "t", "")...)
	for said, want := range map[string]string{
		"refused: t0ken":                                            "refused: ***: why",
		"no key quer+y, quer%2By":                                   "no key ***, ***: why",
		"for shop with pass/word, pass%2Fword":                      "for *** with ***, ***: why",
		"Cannot POST /hooks/T0PSECRETKEY/send?key=quer%2By&n=1":     "Cannot POST ***: why",
		"Cannot POST /hooks/T0PSECRETKEY/send":                      "Cannot POST ***: why",
		"key T0PSECRETKEY expired":                                  "key *** expired: why",
		"at " + u.String():                                          "at ***: why",
		"535 " + base64.StdEncoding.EncodeToString([]byte("t0ken")): "535 ***: why",
		"not a word about it":                                       "not a word about it: why",
	} {
		got := texts.Hide(fmt.Errorf("%s: %w", said, errWhy))
		require.ErrorIs(t, got, errWhy)
		assert.EqualError(t, got, want)
		assert.NotContains(t, fmt.Sprintf("%v %s %q", got, got, got), "t0ken")
	}
	var syntax *url.Error
	require.ErrorAs(t, texts.Hide(&url.Error{Op: "Post", URL: "t0ken", Err: errWhy}), &syntax)
	require.NoError(t, texts.Hide(nil))
}
