package service

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/go-kratos/kratos/v2/middleware"
	"github.com/go-kratos/kratos/v2/transport"
)

// Recover answers a call that panics with 500 and logs the operation and the stack. Unlike Kratos' own it logs neither the request, which may hold
// a password or an address, nor what was given to panic, which may be made of it, unless Go's runtime made that.
func Recover(log *slog.Logger) middleware.Middleware {
	return func(next middleware.Handler) middleware.Handler {
		return func(ctx context.Context, req any) (reply any, err error) {
			defer func() {
				if r := recover(); r != nil {
					cause := fmt.Sprintf("a %T", r)
					if e, ok := r.(runtime.Error); ok {
						cause = e.Error()
					}
					operation := ""
					if tr, ok := transport.FromServerContext(ctx); ok {
						operation = tr.Operation()
					}
					log.ErrorContext(ctx, "a call panicked", "call", operation, "panic", cause, "stack", string(debug.Stack()))
					reply, err = nil, kerrors.InternalServer("INTERNAL", "internal error")
				}
			}()
			return next(ctx, req)
		}
	}
}
