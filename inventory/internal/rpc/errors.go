// Package rpc turns proto requests into steps of the domain and the domain's errors into answers.
package rpc

import (
	"errors"

	inventoryv1 "example.com/fourfold/api/inventory/v1"
	"example.com/fourfold/inventory/internal/stock"
)

// Error returns the answer for an error of the domain. This is the only table; an error that is not in it is returned unchanged and reads as
// 500.
func Error(err error) error {
	switch {
	case errors.Is(err, stock.ErrNotEnough):
		return inventoryv1.ErrorStockNotEnough("%v", err)
	case errors.Is(err, stock.ErrUnknown):
		return inventoryv1.ErrorProductUnknown("%v", err)
	case errors.Is(err, stock.ErrNotSold):
		return inventoryv1.ErrorStockNotSold("%v", err)
	case errors.Is(err, stock.ErrExists):
		return inventoryv1.ErrorProductExists("%v: choose another", err)
	case errors.Is(err, stock.ErrLines):
		return inventoryv1.ErrorProductInvalid("%v", err)
	}
	return err
}
