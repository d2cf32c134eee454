package mac_test

import (
	"context"
	"testing"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"

	ledgerv1 "example.com/fourfold/api/ledger/v1"
	"example.com/fourfold/chassis/mac"
)

// TestCheckCall: the headers of CallHeaders are accepted for that method and that request, also with an older key, and nothing else is.
func TestCheckCall(t *testing.T) {
	t.Parallel()
	const old, current = "k1:00112233445566778899aabbccddeeff", "k2:ffeeddccbbaa99887766554433221100"
	parse := func(text string) mac.Keys {
		k, err := mac.Parse(text)
		require.NoError(t, err)
		return k
	}
	with := func(headers map[string]string) context.Context {
		return metadata.NewIncomingContext(t.Context(), metadata.New(headers))
	}
	request := func(id string, open int64) *ledgerv1.CheckRequest {
		return &ledgerv1.CheckRequest{CallId: id, OpenSeconds: open}
	}
	receiver := parse(current + "," + old)
	for _, sender := range []string{old, current} {
		keys, req := parse(sender), request("1", 7)
		headers := keys.CallHeaders("/a/B", req)
		require.NoError(t, receiver.CheckCall(with(headers), "/a/B", req))
		sent, _ := metadata.FromOutgoingContext(keys.Call(t.Context(), "/a/B", req))
		assert.Equal(t, metadata.New(headers), sent)
		for name, err := range map[string]error{
			"another method":   receiver.CheckCall(with(headers), "/a/C", req),
			"another id":       receiver.CheckCall(with(headers), "/a/B", request("2", 7)),
			"another field":    receiver.CheckCall(with(headers), "/a/B", request("1", 8)),
			"a field less":     receiver.CheckCall(with(headers), "/a/B", request("1", 0)),
			"MAC of its parts": receiver.CheckCall(with(map[string]string{"x-call-mac": keys.Sign("/a/B", "1", "7")}), "/a/B", req),
			"no MAC":           receiver.CheckCall(with(nil), "/a/B", req),
			"no metadata":      receiver.CheckCall(t.Context(), "/a/B", req),
			"no keys":          mac.Keys{}.CheckCall(with(headers), "/a/B", req),
			"unknown key":      parse("k3:00112233445566778899aabbccddeeff").CheckCall(with(headers), "/a/B", req),
			"a wrong key":      parse("k1:ff112233445566778899aabbccddeeff,k2:00eeddccbbaa99887766554433221100").CheckCall(with(headers), "/a/B", req),
		} {
			assert.Equal(t, 403, kerrors.Code(err), name)
			assert.ErrorIs(t, err, mac.ErrForged, name)
		}
	}
}

// TestSign: a MAC is good for exactly its parts: not for others, for more, for fewer, nor for the same letters parted elsewhere.
func TestSign(t *testing.T) {
	t.Parallel()
	keys, err := mac.Parse("k1:00112233445566778899aabbccddeeff")
	require.NoError(t, err)
	signed := keys.Sign("event", "a", "bc")
	assert.True(t, keys.Made(signed, "event", "a", "bc"))
	for _, parts := range [][]string{{"event", "a", "bd"}, {"event", "ab", "c"}, {"event", "a", "bc", ""}, {"event", "a"}, {"a", "event", "bc"}, {}} {
		assert.False(t, keys.Made(signed, parts...), "%q", parts)
	}
	for _, wrong := range []string{"", ".", "k1", "k1.", signed[:len(signed)-1], signed + "A", "k2" + signed[2:], "K1" + signed[2:]} {
		assert.False(t, keys.Made(wrong, "event", "a", "bc"), "%q", wrong)
	}
	assert.True(t, mac.Keys{}.None())
	assert.False(t, keys.None())
}

// TestParse: keys that are too short, without an id, or that share one are refused: with two keys of one id, what one of them signed would
// be refused in the middle of a rotation.
func TestParse(t *testing.T) {
	t.Parallel()
	const a, b = "00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100"
	for _, good := range []string{"k1:" + a, " 2026-11_B:" + a + a + " , k2:" + b} {
		_, err := mac.Parse(good)
		assert.NoError(t, err, good)
	}
	for bad, why := range map[string]string{
		"":                                  "written as id:hex",
		a:                                   "written as id:hex",
		":" + a:                             "written as id:hex",
		"k.1:" + a:                          "letters, digits",
		"\"k1:" + a:                         "letters, digits",
		"k1234567890123456:" + a:            "1 to 16",
		"k1:" + a[2:]:                       "at least 16 bytes",
		"k1:" + a + "0":                     "written as id:hex",
		"k1:" + a + ",":                     "written as id:hex",
		"k1:" + a + ",k1:" + b:              `two keys are called "k1"`,
		"k1:" + a + ",k2:" + b + ",k1:" + a: `two keys are called "k1"`,
	} {
		_, err := mac.Parse(bad)
		assert.ErrorContains(t, err, why, "%q", bad)
	}
}
