// Package events makes notifications from the events of other services. Each handler writes in the transaction of the inbox, so an event is told
// once, however often it is delivered.
package events

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/google/uuid"

	alertv1 "example.com/fourfold/api/alert/v1"
	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/notify/internal/mysql"
	"example.com/fourfold/notify/internal/notification"
)

// ContactPatience is how old an order's event may become while it waits for the member's contact: the two come by different topics. No contact
// ever comes for members created on the command line.
const ContactPatience = time.Minute

// Handlers write notifications.
type Handlers struct {
	store     *mysql.Store
	operators []string
	stale     time.Duration
	budget    *notification.Budget
}

// New returns Handlers that write to store. Alerts go to the operators' addresses; a notification about an event older than stale is not sent,
// nor an SMS beyond budget, which is nil when SMS cost nothing.
func New(store *mysql.Store, operators []string, stale time.Duration, budget *notification.Budget) *Handlers {
	return &Handlers{store, operators, stale, budget}
}

// Consumer is a subscription and its handler.
type Consumer struct {
	mq.Subscription
	Handle mq.Handler
}

// Consumers returns all of notify's consumers.
func (h *Handlers) Consumers() []Consumer {
	registered := []string{eventv1.TypeMemberRegistered}
	return []Consumer{
		{mq.Subscription{Group: "notify-sms", Topic: eventv1.TopicMembers, Types: registered}, h.welcomeSMS},
		{mq.Subscription{Group: "notify-email", Topic: eventv1.TopicMembers, Types: append(registered, eventv1.TypeSignUpRefused)}, h.memberEmail},
		{mq.Subscription{Group: "notify-orders", Topic: eventv1.TopicOrders, Order: mq.Strict}, h.order},
		{mq.Subscription{Group: "notify-alerts", Topic: alertv1.Topic, Types: []string{alertv1.TypeRaised}}, h.alert},
	}
}

// welcomeSMS welcomes a new member.
func (h *Handlers) welcomeSMS(ctx context.Context, tx *sql.Tx, e mq.Event) error {
	var m eventv1.MemberRegistered
	if err := e.Read(&m); err != nil {
		return err
	}
	return h.tell(ctx, tx, e, notification.SMS, m.GetPhone(), notification.WelcomeSMS())
}

// memberEmail mails to a member what happened to the account.
func (h *Handlers) memberEmail(ctx context.Context, tx *sql.Tx, e mq.Event) error {
	if e.Type != eventv1.TypeSignUpRefused {
		return h.welcomeEmail(ctx, tx, e)
	}
	var m eventv1.SignUpRefused
	if err := e.Read(&m); err != nil {
		return err
	}
	return h.tell(ctx, tx, e, notification.Email, m.GetEmail(), notification.SignUpEmail(m.GetName()))
}

// welcomeEmail welcomes a new member, and stores the member's contact.
func (h *Handlers) welcomeEmail(ctx context.Context, tx *sql.Tx, e mq.Event) error {
	var m eventv1.MemberRegistered
	if err := e.Read(&m); err != nil {
		return err
	}
	if m.GetMemberId() == "" {
		return fmt.Errorf("%w: the event names no member", mq.ErrPoison)
	}
	c := notification.Contact{MemberID: m.GetMemberId(), Phone: m.GetPhone(), Email: m.GetEmail(), Name: m.GetName()}
	if err := h.store.PutContact(ctx, tx, c); err != nil {
		return err
	}
	return h.tell(ctx, tx, e, notification.Email, c.Email, notification.WelcomeEmail(c.Name))
}

// order mails to the shopper what happened to an order. A member without a contact gets no mail, which is no failure; a young event waits for
// the contact first.
func (h *Handlers) order(ctx context.Context, tx *sql.Tx, e mq.Event) error {
	var o eventv1.OrderChanged
	if err := e.Read(&o); err != nil {
		return err
	}
	what := notification.Order{ID: o.GetOrderId(), Reason: o.GetReason(), TotalCents: o.GetTotalCents(), Points: o.GetPoints()}
	for _, l := range o.GetLines() {
		what.Lines = append(what.Lines, notification.Line{Name: l.GetName(), Quantity: l.GetQuantity(), PriceCents: l.GetPriceCents()})
	}
	if _, told := notification.OrderEmail(e.Type, "", what); !told {
		return nil
	}
	c, known, err := h.store.Contact(ctx, tx, o.GetMemberId())
	if err != nil {
		return err
	}
	if !known {
		age, err := h.age(ctx, tx, e)
		if err == nil && age < ContactPatience {
			return fmt.Errorf("%w: nobody told where member %s is reached", mq.ErrNotYet, o.GetMemberId())
		}
		return err
	}
	text, _ := notification.OrderEmail(e.Type, c.Name, what)
	return h.tell(ctx, tx, e, notification.Email, c.Email, text)
}

// alert mails each operator.
func (h *Handlers) alert(ctx context.Context, tx *sql.Tx, e mq.Event) error {
	var a alertv1.Raised
	if err := e.Read(&a); err != nil {
		return err
	}
	text := notification.AlertEmail(notification.Alert{
		Service: a.GetService(), Key: a.GetKey(), Summary: a.GetSummary(), Detail: a.GetDetail(), Times: a.GetTimes(),
		Since: a.GetSince().AsTime(), Over: a.GetOver(),
	})
	for _, to := range h.operators {
		if err := h.tell(ctx, tx, e, notification.Email, to, text); err != nil {
			return err
		}
	}
	return nil
}

// tell writes a notification, STALE when e is too old and DROPPED when it is an SMS that the budget does not allow. It writes none if there is
// one already, because the inbox has forgotten e.
func (h *Handlers) tell(ctx context.Context, tx *sql.Tx, e mq.Event, channel notification.Channel, to string, text notification.Text) error {
	age, err := h.age(ctx, tx, e)
	if err != nil {
		return err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	state := notification.First(age, h.stale)
	if state == notification.Pending && channel == notification.SMS && h.budget != nil {
		spent, err := h.store.SpendSMS(ctx, tx, *h.budget, notification.Country(to))
		if err != nil {
			return err
		}
		if !spent {
			state = notification.Dropped
		}
	}
	err = h.store.Add(ctx, tx, notification.Notification{
		ID: id.String(), Channel: channel, To: to, Subject: text.Subject, Text: text.Body, State: state,
		Source: e.Source, EventID: e.ID, EventType: e.Type,
	})
	if err != nil && !database.Duplicate(err) {
		return err
	}
	return nil
}

// age returns the age of e; an event without a time is new.
func (h *Handlers) age(ctx context.Context, tx *sql.Tx, e mq.Event) (time.Duration, error) {
	if e.Time.IsZero() {
		return 0, nil
	}
	return h.store.Age(ctx, tx, e.Time)
}
