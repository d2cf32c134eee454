package service

import (
	"context"
	"errors"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/go-kratos/kratos/v2/middleware"
	"github.com/go-kratos/kratos/v2/transport"
	"google.golang.org/grpc/status"

	"example.com/fourfold/chassis/database"
)

// hideFaults turns an error that no handler named into one of the API: 503, to be repeated after metadata.retry_after seconds, when the database
// is away or the time is over, else 500. The cause goes to the log, not to the caller.
func hideFaults(next middleware.Handler) middleware.Handler {
	return func(ctx context.Context, req any) (any, error) {
		reply, err := next(ctx, req)
		var named *kerrors.Error
		if err == nil || errors.As(err, &named) {
			return reply, err
		}
		if _, ok := status.FromError(err); ok {
			return reply, err
		}
		if database.Unavailable(err) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			advice := "try again"
			if tr, ok := transport.FromServerContext(ctx); ok && NeedsKey(tr.Operation()) {
				advice = "try again with the same Idempotency-Key"
			}
			return reply, kerrors.ServiceUnavailable("TRY_LATER", "a part of the system does not answer; "+advice).
				WithMetadata(map[string]string{"retry_after": "2"}).WithCause(err)
		}
		return reply, kerrors.InternalServer("INTERNAL", "internal error").WithCause(err)
	}
}
