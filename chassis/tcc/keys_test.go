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

// TestCheckContext: what Headers puts into a call's metadata is accepted for that id and order, under an older key too, and
// nothing else is.
func TestCheckContext(t *testing.T) {
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
		headers := parse(sender).Headers("event-1", "order-1")
		require.NoError(t, receiver.CheckContext(with(headers), "event-1", "order-1"))
		for name, err := range map[string]error{
			"another event":   receiver.CheckContext(with(headers), "event-2", "order-1"),
			"another order":   receiver.CheckContext(with(headers), "event-1", "order-2"),
			"the parts moved": receiver.CheckContext(with(headers), "event-1o", "rder-1"),
			"no MAC":          receiver.CheckContext(with(nil), "event-1", "order-1"),
			"no metadata":     receiver.CheckContext(t.Context(), "event-1", "order-1"),
			"unknown key":     parse("k3:00112233445566778899aabbccddeeff").CheckContext(with(headers), "event-1", "order-1"),
			"a wrong key":     parse("k1:ff112233445566778899aabbccddeeff,k2:00eeddccbbaa99887766554433221100").CheckContext(with(headers), "event-1", "order-1"),
		} {
			assert.Equal(t, 403, kerrors.Code(err), name)
			assert.ErrorIs(t, err, tcc.ErrForged, name)
		}
	}
}
