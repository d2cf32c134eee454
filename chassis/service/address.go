package service

import (
	"context"

	"google.golang.org/grpc/metadata"
)

// AddressHeader is the gRPC request header by which the gateway tells a service the address that a call came from, as its limits count it. It is
// as true as the gateway: a service's own port must be closed to strangers.
const AddressHeader = "x-caller-address"

type addressKey struct{}

// WithAddress returns a copy of ctx for which Address returns address: the gateway's half of AddressHeader.
func WithAddress(ctx context.Context, address string) context.Context {
	return context.WithValue(ctx, addressKey{}, address)
}

// Address returns the address that the call of ctx came from, "" when nobody says.
func Address(ctx context.Context) string {
	if address, ok := ctx.Value(addressKey{}).(string); ok {
		return address
	}
	if values := metadata.ValueFromIncomingContext(ctx, AddressHeader); len(values) == 1 {
		return values[0]
	}
	return ""
}
