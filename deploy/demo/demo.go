package demo

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"

	"example.com/fourfold/deploy/system"
)

// Demo buys as the shopper and works as the operator in a running system.
type Demo struct {
	dir               string
	target            system.Target
	control           Control
	shopper, operator client
	shopperID         string
	reader            *sql.DB // of every database
	unlock            func()
}

// Control ends and starts processes of the system, by their names.
type Control interface {
	// Kill ends a process as a crash would, and returns when it is gone. Whether it is started again is not said: see Stop.
	Kill(ctx context.Context, name string) error
	// Stop stops a process until Start.
	Stop(ctx context.Context, name string) error
	// Start starts a process, and returns when it runs, which is before it is healthy.
	Start(ctx context.Context, name string) error
}

// New signs in as both members of the system of the data folder dir and cleans up after a demo that was killed. Other processes wait in New
// until Close or the death of this one: one payment is held at a time.
func New(ctx context.Context, dir string, control Control) (*Demo, error) {
	t, err := system.ReadTarget(dir)
	if err != nil {
		return nil, err
	}
	shopper, err := signIn(ctx, t.Gateway, t.Shopper)
	if err != nil {
		return nil, err
	}
	var me struct {
		ID string `json:"member_id"`
	}
	if err := shopper.do(ctx, http.MethodGet, "/v1/members/me", nil, &me); err != nil {
		return nil, err
	}
	operator, err := signIn(ctx, t.Gateway, t.Operator)
	if err != nil {
		return nil, err
	}
	reader, err := sql.Open("mysql", t.MySQL.DSN("shop_wms"))
	if err != nil {
		return nil, err
	}
	unlock, err := lock(ctx, dir)
	if err != nil {
		return nil, errors.Join(err, reader.Close())
	}
	d := &Demo{dir, t, control, shopper, operator, me.ID, reader, unlock}
	if err := d.Reset(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Close ends the connections and lets others begin.
func (d *Demo) Close() error {
	defer d.unlock()
	return d.reader.Close()
}

// lock keeps other processes from running the demo in the system of dir until unlock is called.
func lock(ctx context.Context, dir string) (unlock func(), err error) {
	return system.Lock(ctx, filepath.Join(dir, "demo.lock"), func() {})
}

// quantity is how many pieces the demo buys.
const quantity = 2

// order creates an unpaid order of the demo's shopper; the same key returns the same order.
func (d *Demo) order(ctx context.Context, key string) (order, error) {
	return d.orderBy(ctx, d.shopper, catalogue[0], quantity, key)
}

// orderBy creates an unpaid order of the member c; the same key returns the same order. When the product is sold out, it adds stock first.
func (d *Demo) orderBy(ctx context.Context, c client, p product, pieces int64, key string) (order, error) {
	var (
		now stock
		o   order
	)
	path := "/v1/ops/products/" + p.SKU + "/stock"
	err := d.operator.do(ctx, http.MethodGet, path, nil, &now)
	if err == nil && now.Sellable < pieces {
		err = d.operator.do(ctx, http.MethodPost, path, map[string]int64{"quantity": p.stock}, nil)
	}
	if err == nil {
		err = c.send(ctx, http.MethodPost, "/v1/orders", key, map[string]any{
			"lines":   []map[string]any{{"sku": p.SKU, "quantity": pieces}},
			"address": "1 Example Street, Hangzhou · 杭州市示例街1号",
		}, &o)
	}
	return o, err
}

// paid creates an order and pays it, without showing anything.
func (d *Demo) paid(ctx context.Context) (order, error) {
	o, err := d.order(ctx, rand.Text())
	if err != nil {
		return o, err
	}
	return d.shopper.pay(ctx, o.ID)
}

// expect returns an error unless the order has the status.
func expect(o order, status string) error {
	if o.Status != status {
		return fmt.Errorf("order %s is %s %s and should be %s: somebody else changes the same things; try again", o.ID, o.Status,
			o.Reason, status)
	}
	return nil
}

func (d *Demo) freeze(ctx context.Context, frozen bool) error {
	return d.operator.do(ctx, http.MethodPut, "/v1/ops/members/"+d.shopperID+"/credit", map[string]bool{"frozen": frozen}, nil)
}

// Reset cleans up what an interrupted command may have left: a transaction that is held, a delayed Try, and, unless the demo is complete, a
// frozen account. After that only a person freezes the account.
func (d *Demo) Reset(ctx context.Context) error {
	s, err := load(d.dir)
	if err != nil {
		return err
	}
	err = errors.Join(d.setFaults(ctx, "order", "", slices.Concat(paymentHolds, refundHolds)...), d.setFaults(ctx, "credit", "", lateCredit))
	if errors.Is(err, errNoFaults) { // so nothing is held
		err = nil
	}
	if !s.complete() {
		err = errors.Join(err, d.freeze(ctx, false))
	}
	return err
}
