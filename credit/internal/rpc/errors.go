// Package rpc turns proto requests into steps of the domain and the domain's errors into answers.
package rpc

import (
	"errors"

	creditv1 "example.com/fourfold/api/credit/v1"
	"example.com/fourfold/credit/internal/account"
)

// Error gives the answer for an error of the domain. This is the one table; what is not in it stays as it is and reads as 500.
func Error(err error) error {
	switch {
	case errors.Is(err, account.ErrFrozen), errors.Is(err, account.ErrNotAdded), errors.Is(err, account.ErrSpent):
		return creditv1.ErrorCreditRefused("%v", err)
	case errors.Is(err, account.ErrInvalid):
		return creditv1.ErrorCreditInvalid("%v", err)
	}
	return err
}
