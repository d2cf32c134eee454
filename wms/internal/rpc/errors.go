// Package rpc turns proto requests into steps of the domain and the domain's errors into answers.
package rpc

import (
	"errors"

	wmsv1 "example.com/fourfold/api/wms/v1"
	"example.com/fourfold/wms/internal/delivery"
)

// Error returns the answer for an error of the domain. This is the only table; an error that is not in it is returned unchanged and reads as
// 500.
func Error(err error) error {
	var illegal *delivery.IllegalError
	switch {
	case errors.As(err, &illegal):
		answer := wmsv1.ErrorDeliveryState
		if illegal.Event == delivery.Hold {
			answer = wmsv1.ErrorDeliveryRefused
		}
		return answer("%v", err).WithMetadata(map[string]string{"status": string(illegal.Status)})
	case errors.Is(err, delivery.ErrNotFound):
		return wmsv1.ErrorDeliveryNotFound("%v", err)
	case errors.Is(err, delivery.ErrClosed):
		return wmsv1.ErrorDeliveryRefused("%v", err)
	case errors.Is(err, delivery.ErrInvalid):
		return wmsv1.ErrorDeliveryInvalid("%v", err)
	}
	return err
}
