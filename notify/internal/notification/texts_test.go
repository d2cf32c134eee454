package notification_test

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"example.com/fourfold/notify/internal/notification"
)

func TestTexts(t *testing.T) {
	t.Parallel()
	sms := notification.WelcomeSMS()
	assert.LessOrEqual(t, utf8.RuneCountInString(sms.Body), 70, "one message")
	assert.Contains(t, sms.Body, "注册成功")
	assert.Contains(t, sms.Body, "registered")

	welcome := notification.WelcomeEmail("李安 Ann")
	assert.Equal(t, "欢迎加入 Fourfold / Welcome to Fourfold", welcome.Subject)
	assert.Contains(t, welcome.Body, "李安 Ann，您好：\n")
	assert.Contains(t, welcome.Body, "Dear 李安 Ann,\n")

	order := notification.Order{ID: "o-1", Reason: "EXPIRED", TotalCents: 123405, Points: 10, Lines: []notification.Line{{"apple 苹果", 2, 500}}}
	for typ, want := range map[string][]string{
		"order.paid":     {"订单已支付 / Order paid: o-1", "订单 o-1 已支付，合计 1234.05，获得积分 10", "order o-1 is paid: 1234.05 in all, and 10 points"},
		"order.shipped":  {"订单已发货 / Order shipped: o-1", "订单 o-1 已发货", "order o-1 is on its way"},
		"order.refunded": {"订单已退款 / Order refunded: o-1", "订单 o-1 已退款，金额 1234.05，收回积分 10", "order o-1 is refunded: 1234.05. Its 10 points"},
		"order.canceled": {"订单已取消 / Order canceled: o-1", "订单 o-1 已取消：超时未支付。", "order o-1 is canceled: it was not paid in time."},
	} {
		got, told := notification.OrderEmail(typ, "Ann", order)
		require.True(t, told, typ)
		assert.Equal(t, want[0], got.Subject)
		for _, text := range append(want[1:], "Ann，您好：", "Dear Ann,", "apple 苹果 × 2  5.00") {
			assert.Contains(t, got.Body, text)
		}
	}
	for _, typ := range []string{"order.created", "order.completed", "welcome", "alert", "lines", ""} {
		_, told := notification.OrderEmail(typ, "Ann", order)
		assert.False(t, told, typ)
	}
	order.Reason, order.Lines = "SOMETHING_NEW", make([]notification.Line, 23)
	got, _ := notification.OrderEmail("order.canceled", "", order)
	assert.Contains(t, got.Body, "订单 o-1 已取消。\n")
	assert.Contains(t, got.Body, "order o-1 is canceled.\n")
	assert.Contains(t, got.Body, "… + 3\n")
	assert.Contains(t, got.Body, "您好：\n")
	assert.Contains(t, got.Body, "Hello,\n")

	alert := notification.AlertEmail(notification.Alert{Service: "order", Key: "payment/gid-1", Summary: "a payment hangs",
		Detail: "look\n at it",
		Times:  3, Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)})
	assert.Equal(t, "[Fourfold] order payment/gid-1", alert.Subject)
	for _, text := range []string{"a payment hangs\n", "payment/gid-1\n", "2026-01-02 03:04:05 UTC", "3\n", "look\n at it"} {
		assert.Contains(t, alert.Body, text)
	}
	assert.Equal(t, "[Fourfold] notify mq-mode 已恢复 / over",
		notification.AlertEmail(notification.Alert{Service: "notify", Key: "mq-mode", Over: true}).Subject)
}

// TestNamesAreNoAdvertisement tests that a mail to an address that a stranger typed shows no web address of that stranger's choice.
func TestNamesAreNoAdvertisement(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"win at evil.example", "http://evil", "evil/x", "a@b", "x．y.cn"} {
		assert.NotContains(t, notification.WelcomeEmail(name).Body, name)
	}
	for _, name := range []string{"St. John", "O'Neill", "欧阳 娜娜", "J. R. R. Tolkien", "Sammy Davis Jr."} {
		assert.Contains(t, notification.WelcomeEmail(name).Body, "Dear "+name+",")
	}
}

// TestStrangersTexts tests that a subject is one short line and that no text holds invisible characters, whatever is in an event.
func TestStrangersTexts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.Just("a\r\nBcc: x@example.com\r\n\r\n"), rapid.Just("\u202eabc\u2066\x00\x1b[2J"),
			rapid.Just("\xff\xfe"), rapid.Just(strings.Repeat("长", 3000))).Draw(t, "text")
		order := notification.Order{ID: s, Reason: s, Lines: []notification.Line{{Name: s, Quantity: 1}}}
		paid, _ := notification.OrderEmail("order.paid", s, order)
		for _, got := range []notification.Text{
			paid, notification.WelcomeEmail(s), notification.AlertEmail(notification.Alert{Service: s, Key: s, Summary: s, Detail: s}),
		} {
			require.LessOrEqual(t, utf8.RuneCountInString(got.Subject), 255)
			require.Less(t, len(got.Body), 1<<16)
			for _, text := range []string{got.Subject, strings.ReplaceAll(got.Body, "\n", "")} {
				require.True(t, utf8.ValidString(text))
				require.False(t, strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }),
					"%q", text)
			}
		}
		require.NotContains(t, paid.Body, "\nBcc:")
	})
}

func TestWhatBecomesOfIt(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	assert.Equal(t, notification.Pending, notification.First(day, day))
	assert.Equal(t, notification.Stale, notification.First(day+1, day))
	assert.Equal(t, notification.Pending, notification.First(-time.Minute, day), "the publisher's clock is ahead")
	assert.Equal(t, notification.Pending, notification.GivenUp(day, day, 900))
	assert.Equal(t, notification.Failed, notification.GivenUp(day+1, day, 2))
	assert.Equal(t, notification.Stale, notification.GivenUp(day+1, day, 1), "nobody was there to send it")
	var pauses []time.Duration
	for n := range int32(13) {
		pauses = append(pauses, notification.Pause(n, 10*time.Minute)/time.Second)
	}
	assert.Equal(t, []time.Duration{1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600}, pauses)
	assert.Equal(t, 10*time.Minute, notification.Pause(1<<30, 10*time.Minute))
}
