package notification

import (
	"fmt"
	"strings"
	"text/template"
	"time"
	"unicode"
)

// Text is the text of a notification. SMS have no Subject.
type Text struct{ Subject, Body string }

// Order is what a mail says about an order.
type Order struct {
	ID string
	// Reason is why the order was canceled, by order's name.
	Reason             string
	TotalCents, Points int64
	Lines              []Line
}

// Line is a product of an order.
type Line struct {
	Name                 string
	Quantity, PriceCents int64
}

// Alert is something that a person must look at.
type Alert struct {
	Service, Key, Summary, Detail string
	// Times is how often the alert was told since Since, this time included.
	Times int32
	Since time.Time
	// Over says that it is over.
	Over bool
}

// WelcomeSMS returns a text that fits into one message (70 characters). It holds nothing that the member wrote: the number may be a stranger's.
func WelcomeSMS() Text {
	return Text{Body: "【Fourfold】欢迎加入，注册成功。Welcome, you are registered."}
}

// WelcomeEmail returns the mail to a new member.
func WelcomeEmail(name string) Text {
	return Text{"欢迎加入 Fourfold / Welcome to Fourfold", fill("welcome", map[string]any{"Name": salutation(name)})}
}

// SignUpEmail returns the mail to a member with whose phone or email somebody tried to sign up.
func SignUpEmail(name string) Text {
	return Text{"您已有 Fourfold 账户 / You have an account with Fourfold", fill("signup", map[string]any{"Name": salutation(name)})}
}

// OrderEmail returns the mail about what happened to a member's order, and false for types of events that are not told.
func OrderEmail(eventType, name string, o Order) (Text, bool) {
	title, told := titles[eventType]
	if !told {
		return Text{}, false
	}
	reason := reasons[o.Reason]
	return Text{
		title[0] + " / " + title[1] + ": " + line(64, o.ID),
		fill(eventType, map[string]any{"Name": salutation(name), "Order": o, "Reason": reason}),
	}, true
}

// AlertEmail returns the mail about an alert to an operator.
func AlertEmail(a Alert) Text {
	over := ""
	if a.Over {
		over = " 已恢复 / over"
	}
	return Text{fmt.Sprintf("[Fourfold] %s %s", line(40, a.Service), line(150, a.Key)) + over, fill("alert", a)}
}

// titles are the subjects of mails about orders, Chinese and English.
var titles = map[string][2]string{
	"order.paid":     {"订单已支付", "Order paid"},
	"order.shipped":  {"订单已发货", "Order shipped"},
	"order.refunded": {"订单已退款", "Order refunded"},
	"order.canceled": {"订单已取消", "Order canceled"},
}

// reasons are order's reasons, Chinese and English; a reason that is missing here is not told.
var reasons = map[string][2]string{
	"STOCK_NOT_ENOUGH": {"库存不足", "not enough in stock"},
	"PRODUCT_UNKNOWN":  {"商品已下架", "a product is not sold any more"},
	"CREDIT_REFUSED":   {"积分账户不可用", "the points account is not available"},
	"DELIVERY_REFUSED": {"暂时无法配送", "it cannot be delivered at the moment"},
	"PAYMENT_TIMEOUT":  {"支付未能及时完成", "the payment could not be completed in time"},
	"EXPIRED":          {"超时未支付", "it was not paid in time"},
	"BY_MEMBER":        {"您已取消", "you canceled it"},
}

// maxLines is how many products a mail lists.
const maxLines = 20

// texts are the bodies. Everything that another person wrote goes through line or text.
var texts = template.Must(template.New("").Funcs(template.FuncMap{
	"line": line, "text": text, "money": money,
	"first": func(all []Line) []Line { return all[:min(len(all), maxLines)] },
	"more":  func(all []Line) int { return max(len(all)-maxLines, 0) },
	"utc":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
}).Parse(`
{{- define "hello"}}{{if .Name}}{{.Name}}，您好：{{else}}您好：{{end}}{{end}}
{{- define "dear"}}{{if .Name}}Dear {{.Name}},{{else}}Hello,{{end}}{{end}}
{{- define "lines"}}{{range first .Order.Lines}}  {{line 80 .Name}} × {{.Quantity}}  {{money .PriceCents}}
{{end}}{{with more .Order.Lines}}  … + {{.}}
{{end}}{{end}}

{{- define "welcome"}}{{template "hello" .}}

欢迎加入 Fourfold，您的账户已可以使用。
如果这不是您本人的操作，请忽略此邮件。

{{template "dear" .}}

welcome to Fourfold. Your account is ready.
If this was not you, please ignore this mail.
{{end}}

{{- define "signup"}}{{template "hello" .}}

有人尝试用您的手机号或邮箱注册。您已有账户，请直接登录。
如果这不是您本人的操作，无需处理：账户没有任何变化。

{{template "dear" .}}

somebody tried to sign up with your phone number or e-mail address. You have an account already: sign in with it.
If this was not you, there is nothing to do: nothing was changed.
{{end}}

{{- define "order.paid"}}{{template "hello" .}}

您的订单 {{line 64 .Order.ID}} 已支付，合计 {{money .Order.TotalCents}}，获得积分 {{.Order.Points}}。

{{template "dear" .}}

your order {{line 64 .Order.ID}} is paid: {{money .Order.TotalCents}} in all, and {{.Order.Points}} points for you.

{{template "lines" .}}{{end}}

{{- define "order.shipped"}}{{template "hello" .}}

您的订单 {{line 64 .Order.ID}} 已发货。

{{template "dear" .}}

your order {{line 64 .Order.ID}} is on its way.

{{template "lines" .}}{{end}}

{{- define "order.refunded"}}{{template "hello" .}}

您的订单 {{line 64 .Order.ID}} 已退款，金额 {{money .Order.TotalCents}}，收回积分 {{.Order.Points}}。

{{template "dear" .}}

your order {{line 64 .Order.ID}} is refunded: {{money .Order.TotalCents}}. Its {{.Order.Points}} points are taken back.

{{template "lines" .}}{{end}}

{{- define "order.canceled"}}{{template "hello" .}}

您的订单 {{line 64 .Order.ID}} 已取消{{with index .Reason 0}}：{{.}}{{end}}。

{{template "dear" .}}

your order {{line 64 .Order.ID}} is canceled{{with index .Reason 1}}: {{.}}{{end}}.

{{template "lines" .}}{{end}}

{{- define "alert"}}{{line 500 .Summary}}

服务 service: {{line 40 .Service}}
事项 about:   {{line 200 .Key}}
始于 since:   {{utc .Since}}
次数 told:    {{.Times}}
{{with text .Detail}}
{{.}}
{{end}}{{end}}`))

// fill panics on an error. There is none for the data that the functions above pass; the test fills in every body.
func fill(name string, data any) string {
	var b strings.Builder
	if err := texts.ExecuteTemplate(&b, name, data); err != nil {
		panic(err)
	}
	return b.String()
}

func money(cents int64) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }

// salutation returns a name that a mail may begin with, or "". The person who signs up chooses both the name and the address, and a mail must
// not carry an advertisement to a stranger: a name that looks like a web address is left out.
func salutation(name string) string {
	name = line(40, name)
	if strings.ContainsAny(name, "/\\@:<>") {
		return ""
	}
	for i, r := range name {
		if r == '.' && i+1 < len(name) && name[i+1] != ' ' {
			return ""
		}
	}
	return name
}

// line returns s on one line, without invisible characters, and cut to most characters.
func line(most int, s string) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, ""), func(r rune) bool { return unicode.IsSpace(r) || invisible(r) }), " ")
	return cut(most, s)
}

// text keeps lines, and removes invisible characters.
func text(s string) string {
	return cut(8000, strings.TrimSpace(strings.Map(func(r rune) rune {
		if invisible(r) && r != '\n' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))))
}

// invisible reports whether r is a control character, a mark of direction or the like, which can make a text look like another.
func invisible(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}

func cut(most int, s string) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
