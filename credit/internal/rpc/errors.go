// Package rpc turns proto requests into steps of the domain and the domain's errors into answers.
package rpc

import (
	"errors"

	creditv1 "example.com/fourfold/api/credit/v1"
	"example.com/fourfold/credit/internal/account"
)

// Error returns the answer for an error of the domain. This is the only table; an error that is not in it is returned unchanged and reads as
// 500.
func Error(err error) error {
	switch {
	case errors.Is(err, account.ErrFrozen), errors.Is(err, account.ErrFull),
		errors.Is(err, account.ErrNotAdded), errors.Is(err, account.ErrSpent):
		return creditv1.ErrorCreditRefused("%v", err)
	case errors.Is(err, account.ErrInvalid):
		return creditv1.ErrorCreditInvalid("%v", err)
	}
	return err
}
