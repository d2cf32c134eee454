package demo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"time"

	"example.com/fourfold/deploy/local/stack"
)

// Demo pays orders of the shopper in a running stack.
type Demo struct {
	stack             *stack.Stack
	shopper, operator client
	shopperID         string
	wms               *sql.DB
}

// New signs in as both members. Close it.
func New(ctx context.Context, s *stack.Stack, seeded stack.Seeded) (*Demo, error) {
	shopper, err := signIn(ctx, s, seeded.Shopper)
	if err != nil {
		return nil, err
	}
	operator, err := signIn(ctx, s, seeded.Operator)
	if err != nil {
		return nil, err
	}
	wms, err := sql.Open("mysql", s.ReaderDSN("shop_wms"))
	if err != nil {
		return nil, err
	}
	return &Demo{s, shopper, operator, seeded.Shopper.MemberID, wms}, nil
}

// Close ends the connections.
func (d *Demo) Close() error { return d.wms.Close() }

// quantity is how many the demo buys.
const quantity = 2

// order makes an order, unpaid.
func (d *Demo) order(ctx context.Context) (order, error) {
	var o order
	err := d.shopper.do(ctx, http.MethodPost, "/v1/orders", map[string]any{
		"lines":   []map[string]any{{"sku": sku, "quantity": quantity}},
		"address": "1 Example Street, Hangzhou · 杭州市示例街1号",
	}, &o)
	return o, err
}

// Pay makes an order and pays it, whatever comes of it. When the product is sold out, new stock comes in first.
func (d *Demo) Pay(ctx context.Context) (Table, error) {
	var now stock
	path := "/v1/ops/products/" + sku + "/stock"
	err := d.operator.do(ctx, http.MethodGet, path, nil, &now)
	if err == nil && now.Sellable < quantity {
		err = d.operator.do(ctx, http.MethodPost, path, map[string]int64{"quantity": catalogue[0].stock}, nil)
	}
	if err != nil {
		return Table{}, err
	}
	o, err := d.order(ctx)
	if err != nil {
		return Table{}, err
	}
	return d.pay(ctx, o)
}

// Refuse makes an order and pays it while the operator has the shopper's credit account frozen.
func (d *Demo) Refuse(ctx context.Context) (t Table, err error) {
	o, err := d.order(ctx)
	if err != nil {
		return Table{}, err
	}
	if err := d.freeze(ctx, true); err != nil {
		return Table{}, err
	}
	after := context.WithoutCancel(ctx)
	defer func() { err = errors.Join(err, d.freeze(after, false)) }()
	// The Tries run at once, and the first refusal ends the others. Late, it finds them done, and there is something to see.
	if err := d.setFaults(ctx, "credit", "delay(400ms)*1", lateCredit); err != nil {
		return Table{}, err
	}
	defer func() { err = errors.Join(err, d.setFaults(after, "credit", "", lateCredit)) }()
	return d.pay(ctx, o)
}

func (d *Demo) freeze(ctx context.Context, frozen bool) error {
	return d.operator.do(ctx, http.MethodPut, "/v1/ops/members/"+d.shopperID+"/credit", map[string]bool{"frozen": frozen}, nil)
}

// Reset ends what an interrupted demo may have left: a payment held still, a frozen account.
func (d *Demo) Reset(ctx context.Context) error {
	return errors.Join(d.setFaults(ctx, "order", "", holds...), d.setFaults(ctx, "credit", "", lateCredit), d.freeze(ctx, false))
}

// pay pays o and reads the numbers before, while the payment is held still, and after.
func (d *Demo) pay(ctx context.Context, o order) (t Table, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	t = Table{Order: o.ID, Points: o.Points, TotalCents: o.TotalCents, At: time.Now()}
	if t.Before, err = d.numbers(ctx, o.ID); err != nil {
		return t, err
	}
	before, err := d.hits(ctx)
	if err != nil {
		return t, err
	}
	if err := d.setFaults(ctx, "order", "pause*1", holds...); err != nil {
		return t, err
	}
	release := func(ctx context.Context) error { return d.setFaults(ctx, "order", "", holds...) }
	defer func() { err = errors.Join(err, release(context.WithoutCancel(ctx))) }()

	start := time.Now()
	ended := make(chan struct{})
	var payErr error
	go func() {
		defer close(ended)
		payErr = d.shopper.do(ctx, http.MethodPost, "/v1/orders/"+o.ID+"/pay", map[string]any{}, nil)
	}()
	if err := d.awaitHeld(ctx, before, ended); err != nil {
		<-ended
		return t, errors.Join(payErr, err)
	}
	held := time.Now()
	if t.Tried, err = d.numbers(ctx, o.ID); err != nil {
		return t, err
	}
	released := time.Now()
	if err := release(ctx); err != nil {
		return t, err
	}
	<-ended
	if payErr != nil && !answered(payErr, http.StatusConflict) {
		return t, payErr
	}
	if o, err = d.settled(ctx, o.ID); err != nil {
		return t, err
	}
	t.Took, t.Held = held.Sub(start)+time.Since(released), released.Sub(held)
	t.Reason = o.Reason
	t.After, err = d.numbers(ctx, o.ID)
	return t, err
}

// settled waits until the order's payment is decided.
func (d *Demo) settled(ctx context.Context, id string) (order, error) {
	for {
		var o order
		if err := d.shopper.do(ctx, http.MethodGet, "/v1/orders/"+id, nil, &o); err != nil || o.Status != "UPDATING" {
			return o, err
		}
		select {
		case <-ctx.Done():
			return o, fmt.Errorf("order %s is still being decided: %w", id, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
