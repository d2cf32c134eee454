// Package rpc shows operators which notifications were sent or are to be sent.
package rpc

import (
	"errors"

	notifyv1 "example.com/fourfold/api/notify/v1"
	"example.com/fourfold/notify/internal/notification"
)

// Error returns the answer for an error of the domain. This is the only table; an error that is not in it is returned unchanged and reads as
// 500.
func Error(err error) error {
	if errors.Is(err, notification.ErrInvalid) {
		return notifyv1.ErrorNotificationInvalid("%v", err)
	}
	return err
}
