package tcc_test

import (
	"context"
	"testing"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"

	"example.com/fourfold/chassis/tcc"
)

// TestCheckCall: the headers of CallHeaders are accepted for that method and those parts, also with an older key, and nothing else is.
func TestCheckCall(t *testing.T) {
	t.Parallel()
	const old, current = "k1:00112233445566778899aabbccddeeff", "k2:ffeeddccbbaa99887766554433221100"
	parse := func(text string) tcc.Keys {
		k, err := tcc.ParseKeys(text)
		require.NoError(t, err)
		return k
	}
	with := func(headers map[string]string) context.Context {
		return metadata.NewIncomingContext(t.Context(), metadata.New(headers))
	}
	branchMAC := func(keys tcc.Keys, phase tcc.Phase) map[string]string {
		call := tcc.Call{GID: "/a/B", Branch: "01", Phase: phase, Service: "service", Subject: "order-1"}
		return map[string]string{"x-call-mac": call.Headers(keys)["x-branch-mac-01"]}
	}
	receiver := parse(current + "," + old)
	for _, sender := range []string{old, current} {
		keys := parse(sender)
		headers := keys.CallHeaders("/a/B", "event-1", "order-1", "7")
		require.NoError(t, receiver.CheckCall(with(headers), "/a/B", "event-1", "order-1", "7"))
		check := func(headers map[string]string, method string, parts ...string) error {
			return receiver.CheckCall(with(headers), method, parts...)
		}
		for name, err := range map[string]error{
			"another method":  check(headers, "/a/C", "event-1", "order-1", "7"),
			"another part":    check(headers, "/a/B", "event-1", "order-1", "8"),
			"a part less":     check(headers, "/a/B", "event-1", "order-1"),
			"a part more":     check(headers, "/a/B", "event-1", "order-1", "7", ""),
			"the parts moved": check(headers, "/a/B", "event-1o", "rder-1", "7"),
			"other order":     check(headers, "/a/B", "order-1", "event-1", "7"),
			"a branch's MAC":  check(branchMAC(keys, tcc.Confirm), "/a/B", "01", "service", "order-1", ""),
			"or of its Try":   check(branchMAC(keys, tcc.Try), "/a/B", "01", "service", "order-1", ""),
			"no MAC":          check(nil, "/a/B", "event-1", "order-1", "7"),
			"no metadata":     receiver.CheckCall(t.Context(), "/a/B", "event-1", "order-1", "7"),
			"unknown key":     parse("k3:00112233445566778899aabbccddeeff").CheckCall(with(headers), "/a/B", "event-1", "order-1", "7"),
			"a wrong key": parse("k1:ff112233445566778899aabbccddeeff,k2:00eeddccbbaa99887766554433221100").CheckCall(with(headers), "/a/B",
				"event-1", "order-1", "7"),
		} {
			assert.Equal(t, 403, kerrors.Code(err), name)
			assert.ErrorIs(t, err, tcc.ErrForged, name)
		}
	}
}

// TestParseKeys: keys that are too short, without an id, or that share one are refused: with two keys of one id, what one of them signed would
// be refused in the middle of a rotation.
func TestParseKeys(t *testing.T) {
	t.Parallel()
	const a, b = "00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100"
	for _, good := range []string{"k1:" + a, " 2026-11_B:" + a + a + " , k2:" + b} {
		_, err := tcc.ParseKeys(good)
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
		"k1:" + a + ",k1:" + b:              `two branch keys are called "k1"`,
		"k1:" + a + ",k2:" + b + ",k1:" + a: `two branch keys are called "k1"`,
	} {
		_, err := tcc.ParseKeys(bad)
		assert.ErrorContains(t, err, why, "%q", bad)
	}
}
