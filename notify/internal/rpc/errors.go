// Package rpc shows operators what was or is to be sent.
package rpc

import (
	"errors"

	notifyv1 "example.com/fourfold/api/notify/v1"
	"example.com/fourfold/notify/internal/notification"
)

// Error gives the answer for an error of the domain. This is the one table; what is not in it stays as it is and reads as 500.
func Error(err error) error {
	if errors.Is(err, notification.ErrInvalid) {
		return notifyv1.ErrorNotificationInvalid("%v", err)
	}
	return err
}
