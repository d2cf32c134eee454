package notification_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/fourfold/notify/internal/notification"
)

func TestCountry(t *testing.T) {
	t.Parallel()
	for phone, want := range map[string]string{"+8613800138000": "86", "+12025550123": "1", "+78005553535": "7", "+85221234567": "852",
		"+447700900123": "44", "+3531234567": "353", "+882161234567": "882", "+4": "4", "": ""} {
		assert.Equal(t, want, notification.Country(phone), phone)
	}
}
