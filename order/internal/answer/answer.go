// Package answer turns the domain's errors and outcomes into what callers read.
package answer

import (
	"errors"

	kerrors "github.com/go-kratos/kratos/v2/errors"

	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/order/internal/order"
	"example.com/fourfold/order/internal/participant"
)

// Error returns the answer for an error of the domain. This is the only table; an error that is not in it is returned unchanged and reads as
// 500.
func Error(err error) error {
	switch {
	case errors.Is(err, order.ErrNotFound):
		return orderv1.ErrorOrderNotFound("no such order")
	case errors.Is(err, order.ErrState):
		return orderv1.ErrorOrderState("%v", err)
	case errors.Is(err, order.ErrInvalid):
		return orderv1.ErrorOrderInvalid("%v", err)
	case errors.Is(err, order.ErrTooMany):
		return orderv1.ErrorTooManyOpen("too many of your orders are not paid: pay or cancel some, or wait until they expire")
	}
	return err
}

// Canceled returns the answer for an order that is CANCELED: 409 with the order's reason.
func Canceled(reason order.Reason) *kerrors.Error {
	why, refused := participant.Refusal(order.Payment, reason)
	switch {
	case refused:
		why += "; nothing was charged"
	case reason == order.PaymentTimeout:
		why = "the payment took too long and was undone; nothing was charged"
	case reason == order.Expired:
		why = "the order was not paid in time"
	case reason == order.ByMember:
		why = "you canceled this order"
	}
	return kerrors.Conflict(string(reason), "the order is canceled: "+why).
		WithMetadata(map[string]string{"status": string(order.Canceled)})
}

// NotRefunded returns the answer for a refund that was refused or undone. The order is PAID as before.
func NotRefunded(reason order.Reason) error {
	why, ok := participant.Refusal(order.Refund, reason)
	if !ok {
		reason, why = order.PaymentTimeout, "it took too long and was undone; you may ask again"
	}
	return kerrors.Conflict(string(reason), "the order is not refunded: "+why).
		WithMetadata(map[string]string{"status": string(order.Paid)})
}

// TryLater returns the answer for a call that changed nothing and may be repeated.
func TryLater(message string) error {
	return orderv1.ErrorTryLater("%s", message).WithMetadata(map[string]string{"retry_after": "2"})
}
