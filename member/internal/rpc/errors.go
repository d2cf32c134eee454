// Package rpc turns proto requests into steps of the domain and the domain's errors into answers.
package rpc

import (
	"errors"

	kerrors "github.com/go-kratos/kratos/v2/errors"

	memberv1 "example.com/fourfold/api/member/v1"
	"example.com/fourfold/member/internal/member"
	"example.com/fourfold/member/internal/password"
)

// Error returns the answer for an error of the domain. This is the only table; an error that is not in it is returned unchanged and reads as
// 500.
func Error(err error) error {
	switch {
	case errors.Is(err, member.ErrExists):
		return memberv1.ErrorMemberExists("%v: sign in, or use another", err)
	case errors.Is(err, member.ErrInvalid):
		return memberv1.ErrorMemberInvalid("%v", err)
	case errors.Is(err, member.ErrSignIn):
		return memberv1.ErrorSignInFailed("%v", err)
	case errors.Is(err, password.ErrBusy):
		return kerrors.ServiceUnavailable("TRY_LATER", err.Error()+": try again").WithMetadata(map[string]string{"retry_after": "2"})
	case errors.Is(err, member.ErrNotFound):
		return memberv1.ErrorMemberNotFound("%v", err)
	}
	return err
}
