package service

import (
	"context"
	"fmt"
	"strings"

	"github.com/go-kratos/kratos/v2/middleware"
	"github.com/go-kratos/kratos/v2/transport"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	idempotencyv1 "example.com/fourfold/api/idempotency/v1"
)

// NeedsKey reports whether the method named "/package.Service/Method" needs an Idempotency-Key.
func NeedsKey(operation string) bool {
	_, key := repetition(operation)
	return key
}

// repetition returns what the proto of a method says about calling it again.
func repetition(operation string) (level descriptorpb.MethodOptions_IdempotencyLevel, key bool) {
	name := strings.ReplaceAll(strings.TrimPrefix(operation, "/"), "/", ".")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return level, false
	}
	options, ok := d.Options().(*descriptorpb.MethodOptions)
	if !ok {
		return level, false
	}
	key, _ = proto.GetExtension(options, idempotencyv1.E_Key).(bool)
	return options.GetIdempotencyLevel(), key
}

// CheckRepetitions returns an error when a method of services does not say what calling it again does: either by its idempotency_level, or by
// needing an Idempotency-Key. So no call that adds something can be served without one. The frame's own services (health, reflection, metadata)
// are left out.
func CheckRepetitions(services map[string]grpc.ServiceInfo) error {
	for name, info := range services {
		if strings.HasPrefix(name, "grpc.") || strings.HasPrefix(name, "kratos.api.") {
			continue
		}
		for _, m := range info.Methods {
			level, key := repetition(name + "/" + m.Name)
			switch said := level != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN; {
			case !said && !key:
				return fmt.Errorf("%s/%s does not say in its proto what a second call does: idempotency_level, or (idempotency.v1.key) when it adds",
					name, m.Name)
			case said && key:
				return fmt.Errorf("%s/%s has both idempotency_level and (idempotency.v1.key) in its proto: which?", name, m.Name)
			}
		}
	}
	return nil
}

type keyContext struct{}

// WithIdempotencyKey returns a copy of ctx for which IdempotencyKey returns key.
func WithIdempotencyKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, keyContext{}, key)
}

// IdempotencyKey returns the Idempotency-Key of the call that ctx belongs to. It is empty for a method that needs none.
func IdempotencyKey(ctx context.Context) string {
	key, _ := ctx.Value(keyContext{}).(string)
	return key
}

// demandKey refuses calls without a usable Idempotency-Key at methods that need one, with IDEMPOTENCY_KEY (400).
func demandKey(next middleware.Handler) middleware.Handler {
	return func(ctx context.Context, req any) (any, error) {
		tr, ok := transport.FromServerContext(ctx)
		if !ok || !NeedsKey(tr.Operation()) {
			return next(ctx, req)
		}
		key := tr.RequestHeader().Get("idempotency-key")
		if key == "" || len(key) > 100 || strings.ContainsFunc(key, func(r rune) bool { return r < '!' || r > '~' }) {
			return nil, idempotencyv1.ErrorIdempotencyKey(
				"send the header Idempotency-Key: 1 to 100 printable characters, new for each new intention, the same when you repeat it")
		}
		return next(WithIdempotencyKey(ctx, key), req)
	}
}
