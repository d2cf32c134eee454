// Package rpc turns proto requests into steps of the domain and the domain's errors into answers.
package rpc

import (
	"errors"

	kerrors "github.com/go-kratos/kratos/v2/errors"

	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/order/internal/order"
)

// Error gives the answer for an error of the domain. This is the one table; what is not in it stays as it is and reads as 500.
func Error(err error) error {
	switch {
	case errors.Is(err, order.ErrNotFound):
		return orderv1.ErrorOrderNotFound("no such order")
	case errors.Is(err, order.ErrState):
		return orderv1.ErrorOrderState("%v", err)
	case errors.Is(err, order.ErrInvalid):
		return orderv1.ErrorOrderInvalid("%v", err)
	}
	return err
}

// refused is the answer for an order that is CANCELED: its reason, 409.
func refused(reason order.Reason) *kerrors.Error {
	messages := map[order.Reason]string{
		order.StockNotEnough:  "there is not enough in stock; nothing was charged",
		order.ProductUnknown:  "a product is no longer sold; nothing was charged",
		order.CreditRefused:   "your points account does not accept points; nothing was charged",
		order.DeliveryRefused: "the warehouse takes no orders at the moment; nothing was charged",
		order.PaymentTimeout:  "the payment took too long and was undone; nothing was charged",
		order.Expired:         "the order was not paid in time",
		order.ByMember:        "you canceled this order",
	}
	return kerrors.Conflict(string(reason), "the order is canceled: "+messages[reason]).
		WithMetadata(map[string]string{"status": string(order.Canceled)})
}

// notRefunded is the answer when a refund was refused or undone: the order is PAID as before.
func notRefunded(reason order.Reason) error {
	messages := map[order.Reason]string{
		order.CreditRefused:   "the points of this order are spent, or your points account is frozen",
		order.DeliveryRefused: "the warehouse has picked it already",
		order.StockNotSold:    "its stock was returned before",
	}
	why, ok := messages[reason]
	if !ok {
		reason, why = order.PaymentTimeout, "it took too long and was undone; you may ask again"
	}
	return kerrors.Conflict(string(reason), "the order is not refunded: "+why).
		WithMetadata(map[string]string{"status": string(order.Paid)})
}

// tryLater is the answer when nothing happened.
func tryLater(message string) error {
	return orderv1.ErrorTryLater("%s", message).WithMetadata(map[string]string{"retry_after": "2"})
}
