package mac

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// callHeader carries the MAC of a call between services.
const callHeader = "x-call-mac"

// ErrForged means that a call does not come from a holder of a key. The caller gets 403 CALL_FORGED.
var ErrForged = errors.New("the call is not signed with a key of the services")

// CallHeaders returns the headers of a call of method, its full name, with req. They prove that a holder of a key made this request.
func (k Keys) CallHeaders(method string, req proto.Message) map[string]string {
	return map[string]string{callHeader: k.Sign(callParts(method, req)...)}
}

// Call returns the context for such a call.
func (k Keys) Call(ctx context.Context, method string, req proto.Message) context.Context {
	return metadata.AppendToOutgoingContext(ctx, callHeader, k.Sign(callParts(method, req)...))
}

// CheckCall checks an incoming call of method with req. It returns ErrForged unless the call carries CallHeaders(method, req) of one of the
// keys.
func (k Keys) CheckCall(ctx context.Context, method string, req proto.Message) error {
	md, _ := metadata.FromIncomingContext(ctx)
	for _, m := range md.Get(callHeader) {
		if k.Made(m, callParts(method, req)...) {
			return nil
		}
	}
	err := fmt.Errorf("%w: %s", ErrForged, method)
	return kerrors.Forbidden("CALL_FORGED", err.Error()).WithCause(err)
}

func callParts(method string, req proto.Message) []string {
	b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(req)
	sum := sha256.Sum256(b)
	return []string{"call", method, string(sum[:])}
}
