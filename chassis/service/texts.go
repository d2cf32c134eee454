package service

import (
	"context"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/go-kratos/kratos/v2/middleware"
	"google.golang.org/protobuf/proto"

	"example.com/fourfold/chassis/shown"
)

// checkTexts refuses requests with a text for people that is not what it looks like, or an id in another spelling, as validate.ProtoValidate
// refuses others.
func checkTexts(next middleware.Handler) middleware.Handler {
	return func(ctx context.Context, req any) (any, error) {
		if m, ok := req.(proto.Message); ok {
			if err := shown.Check(m); err != nil {
				return nil, kerrors.BadRequest("VALIDATOR", err.Error()).WithCause(err)
			}
		}
		return next(ctx, req)
	}
}
