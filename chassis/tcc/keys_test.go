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
			"a branch's MAC":  check(keys.Headers("/a/B", "event-1"), "/a/B", "event-1"),
			"and of no parts": check(keys.Headers("call", "/a/B"), "/a/B"),
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
