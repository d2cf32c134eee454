package service

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"google.golang.org/grpc/metadata"
)

func TestAddress(t *testing.T) {
	t.Parallel()
	assert.Empty(t, Address(t.Context()))
	assert.Equal(t, "192.0.2.1", Address(WithAddress(t.Context(), "192.0.2.1")))
	from := func(addresses ...string) string {
		return Address(metadata.NewIncomingContext(t.Context(), metadata.MD{AddressHeader: addresses}))
	}
	assert.Equal(t, "192.0.2.1", from("192.0.2.1"))
	assert.Empty(t, from("192.0.2.1", "192.0.2.2"), "two say nothing")
}
