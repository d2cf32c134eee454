package mac

import (
	"context"
	"crypto/sha256"
	"fmt"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// callHeader carries the MAC of a call between services.
const callHeader = "x-call-mac"

// Call returns the context for a call of method, its full name, with req: it proves that a holder of a key made this request.
func (k Keys) Call(ctx context.Context, method string, req proto.Message) context.Context {
	return metadata.AppendToOutgoingContext(ctx, callHeader, k.Sign(callParts(method, req)...))
}

// CheckCall checks an incoming call of method with req. It returns 403 CALL_FORGED unless Call made it with one of the keys.
func (k Keys) CheckCall(ctx context.Context, method string, req proto.Message) error {
	md, _ := metadata.FromIncomingContext(ctx)
	for _, m := range md.Get(callHeader) {
		if k.Made(m, callParts(method, req)...) {
			return nil
		}
	}
	return kerrors.Forbidden("CALL_FORGED", fmt.Sprintf("the call of %s is not signed with a key of the services", method))
}

func callParts(method string, req proto.Message) []string {
	b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(req)
	sum := sha256.Sum256(b)
	return []string{"call", method, string(sum[:])}
}
