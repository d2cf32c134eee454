package rpc

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	inventoryv1 "example.com/fourfold/api/inventory/v1"
	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/idempotency"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/page"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/telemetry"
	"example.com/fourfold/order/internal/answer"
	"example.com/fourfold/order/internal/checkout"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
)

// Orders serves a member's own orders.
type Orders struct {
	orderv1.UnimplementedOrdersServer
	store     *mysql.Store
	catalogue inventoryv1.CatalogueClient
	checkout  *checkout.Checkout
	answers   *idempotency.Answers
	ttl       time.Duration
	mostOpen  int
}

// NewOrders returns the service. It prices new orders from store's copy of the catalogue, asks catalogue for what the copy does not have, and
// lets checkout pay and refund them. answers are on store's database. An order can be paid for ttl, and a member has at
// most mostOpen of those, 0 for any number.
func NewOrders(store *mysql.Store, catalogue inventoryv1.CatalogueClient, checkout *checkout.Checkout, answers *idempotency.Answers,
	ttl time.Duration, mostOpen int) *Orders {
	return &Orders{store: store, catalogue: catalogue, checkout: checkout, answers: answers, ttl: ttl, mostOpen: mostOpen}
}

// CreateOrder creates an order. It answers ORDER_INVALID, which names the line, TOO_MANY_OPEN when the caller has too many unpaid orders, or
// TRY_LATER when inventory does not answer about a product that order does not know.
func (s *Orders) CreateOrder(ctx context.Context, req *orderv1.CreateOrderRequest) (*orderv1.Order, error) {
	call, err := s.answers.Call(ctx, "orders", req)
	if err != nil {
		return nil, err
	}
	if o, err := idempotency.Earlier[orderv1.Order](ctx, call); o != nil || err != nil {
		return o, err
	}
	lines := make([]order.Line, len(req.GetLines()))
	for i, l := range req.GetLines() {
		lines[i] = order.Line{SKU: l.GetSku(), Quantity: int64(l.GetQuantity())}
	}
	if lines, err = order.Merge(lines); err != nil {
		return nil, answer.Error(err)
	}
	if lines, err = s.price(ctx, lines); err != nil {
		return nil, answer.Error(err)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	o, err := order.New(id.String(), identity.FromContext(ctx).MemberID, req.GetAddress(), lines)
	if err != nil {
		return nil, answer.Error(err)
	}
	note(ctx, o.ID)
	var reply *orderv1.Order
	err = s.store.Create(ctx, o, s.ttl, s.mostOpen, func(tx *sql.Tx, written order.Order) error {
		reply = protoOrder(written)
		return call.Keep(ctx, tx, http.StatusCreated, reply)
	})
	tooMany := errors.Is(err, order.ErrTooMany)
	if tooMany || errors.Is(err, idempotency.ErrAnswered) { // the same call may have come twice at once, and the other one was faster
		if o, err := idempotency.Earlier[orderv1.Order](ctx, call); o != nil || err != nil || !tooMany {
			return o, err
		}
	}
	if err != nil {
		return nil, answer.Error(err)
	}
	service.Code(ctx, http.StatusCreated)
	return reply, nil
}

// ListOrders returns a page of the caller's orders.
func (s *Orders) ListOrders(ctx context.Context, req *orderv1.ListOrdersRequest) (*orderv1.ListOrdersReply, error) {
	memberID := identity.FromContext(ctx).MemberID
	list := page.Of("orders", memberID)
	before, err := list.After(req.GetPageToken())
	if err != nil {
		return nil, orderv1.ErrorOrderInvalid("%v", err)
	}
	size := page.Size(req.GetPageSize())
	orders, err := s.store.Orders(ctx, memberID, before, size+1)
	if err != nil {
		return nil, err
	}
	reply := &orderv1.ListOrdersReply{}
	reply.Orders, reply.NextPageToken = page.Cut(list, orders, size, func(o order.Order) string { return o.ID }, protoOrder)
	return reply, nil
}

// GetOrder returns one of the caller's orders.
func (s *Orders) GetOrder(ctx context.Context, req *orderv1.GetOrderRequest) (*orderv1.Order, error) {
	note(ctx, req.GetId())
	o, err := s.store.Order(ctx, identity.FromContext(ctx).MemberID, req.GetId())
	if err != nil {
		return nil, answer.Error(err)
	}
	return protoOrder(o), nil
}

// PayOrder pays, and answers from the order's row only.
func (s *Orders) PayOrder(ctx context.Context, req *orderv1.PayOrderRequest) (*orderv1.Order, error) {
	note(ctx, req.GetId())
	call, err := s.answers.Call(ctx, "orders/"+req.GetId()+"/pay", req)
	if err != nil {
		return nil, err
	}
	if o, err := idempotency.Earlier[orderv1.Order](ctx, call); o != nil || err != nil {
		return o, err
	}
	memberID := identity.FromContext(ctx).MemberID
	if err := s.checkout.Run(ctx, order.Payment, memberID, req.GetId()); err != nil {
		return nil, answer.Error(err)
	}
	o, err := s.store.Order(ctx, memberID, req.GetId())
	if err == nil && o.Status == order.Created {
		o, err = s.closedInstead(ctx, o)
	}
	if err != nil {
		return nil, answer.Error(err)
	}
	switch o.Status {
	case order.Updating:
		service.Code(ctx, http.StatusAccepted)
		return protoOrder(o), nil
	case order.Refunding, order.Refunded:
		return nil, orderv1.ErrorOrderState("the order was paid and is %s", o.Status).
			WithMetadata(map[string]string{"status": string(o.Status)})
	case order.Canceled:
		refusal := answer.Canceled(o.Reason)
		call.KeepLate(ctx, http.StatusConflict, &refusal.Status)
		return nil, refusal
	case order.Paid, order.Shipped, order.Completed:
		reply := protoOrder(o)
		call.KeepLate(ctx, http.StatusOK, reply)
		return reply, nil
	}
	return nil, fmt.Errorf("a payment left order %s %s", o.ID, o.Status)
}

// closedInstead closes o, which reads CREATED after a payment that was not begun, when its time is over, as the next call would, and returns it
// as it is then. Otherwise it returns TRY_LATER: the order can still be paid, or another call is just beginning.
func (s *Orders) closedInstead(ctx context.Context, o order.Order) (order.Order, error) {
	state, err := s.store.State(ctx, o.ID)
	switch {
	case err != nil:
		return o, err
	case state.Busy || !state.Expired:
		return o, notBegun(state, "the payment could not be begun; the order can still be paid")
	}
	if err := s.store.Close(ctx, o.MemberID, o.ID, order.Expired); err != nil && !errors.Is(err, order.ErrState) {
		return o, err
	}
	return s.store.Order(ctx, o.MemberID, o.ID)
}

// notBegun returns the answer when the row reads as before: nothing happened, unless another call is just beginning.
func notBegun(state mysql.State, message string) error {
	if state.Busy {
		message = "another call for this order is under way: look at the order, then ask again"
	}
	return answer.TryLater(message)
}

// RefundOrder refunds, and answers from the order's row only; the reason of a refusal comes from the row of its attempt.
func (s *Orders) RefundOrder(ctx context.Context, req *orderv1.RefundOrderRequest) (*orderv1.Order, error) {
	note(ctx, req.GetId())
	memberID := identity.FromContext(ctx).MemberID
	if err := s.checkout.Run(ctx, order.Refund, memberID, req.GetId()); err != nil {
		return nil, answer.Error(err)
	}
	// The attempt before the order: of an order that is PAID afterwards it did not succeed, whatever other calls do meanwhile.
	attempt, reason, err := s.store.LastAttempt(ctx, order.Refund, req.GetId())
	if err != nil {
		return nil, err
	}
	o, err := s.store.Order(ctx, memberID, req.GetId())
	if err != nil {
		return nil, answer.Error(err)
	}
	switch o.Status {
	case order.Refunded:
		return protoOrder(o), nil
	case order.Refunding:
		service.Code(ctx, http.StatusAccepted)
		return protoOrder(o), nil
	case order.Paid:
		if attempt == order.AttemptDone {
			return nil, answer.NotRefunded(reason)
		}
		state, err := s.store.State(ctx, o.ID)
		if err != nil {
			return nil, err
		}
		state.Busy = state.Busy || attempt == order.AttemptOpen // it ended since
		return nil, notBegun(state, "the refund could not be begun; the order is paid as before")
	}
	return nil, orderv1.ErrorOrderState("the order is %s and cannot be refunded", o.Status).
		WithMetadata(map[string]string{"status": string(o.Status)})
}

// CancelOrder closes an unpaid order. For one that is CANCELED already it returns the order as it is. ORDER_STATE is said only of an order whose
// status, which comes with it, can never be canceled from.
func (s *Orders) CancelOrder(ctx context.Context, req *orderv1.CancelOrderRequest) (*orderv1.Order, error) {
	note(ctx, req.GetId())
	caller := identity.FromContext(ctx)
	err := s.store.Close(ctx, caller.MemberID, req.GetId(), order.ByMember)
	o, getErr := s.store.Order(ctx, caller.MemberID, req.GetId())
	switch {
	case getErr != nil:
		return nil, answer.Error(getErr)
	case err == nil || o.Status == order.Canceled:
		return protoOrder(o), nil
	case errors.Is(err, order.ErrState):
		return nil, orderv1.ErrorOrderState("the order is %s and cannot be canceled", o.Status).
			WithMetadata(map[string]string{"status": string(o.Status)})
	}
	return nil, answer.Error(err) // it may be canceled in a moment: a COMMIT whose answer was lost
}

// note adds the order's id to log lines and the trace of the call.
func note(ctx context.Context, orderID string) { telemetry.Note(ctx, slog.String("order", orderID)) }

func protoOrder(o order.Order) *orderv1.Order {
	p := &orderv1.Order{
		Id: o.ID, MemberId: o.MemberID,
		Status: orderv1.Order_Status(orderv1.Order_Status_value[string(o.Status)]), Reason: string(o.Reason),
		TotalCents: o.TotalCents, Points: o.Points, Address: o.Address,
		CreatedAt: timestamppb.New(o.CreatedAt), ExpiresAt: timestamppb.New(o.ExpiresAt), Version: o.Version,
	}
	if !o.PaidAt.IsZero() {
		p.PaidAt = timestamppb.New(o.PaidAt)
	}
	for _, l := range o.Lines {
		p.Lines = append(p.Lines, &orderv1.OrderLine{
			Sku: l.SKU, Name: l.Name, PriceCents: l.PriceCents, Quantity: int32(l.Quantity),
		})
	}
	return p
}
