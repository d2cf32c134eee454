package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
)

// First are the demo's first payments. They are made once and remembered in demo-table.json: the first order has the numbers
// of the documentation, and a second demo must not double anything.
type First struct {
	// Order was made to be paid first. When Paid is missing, its payment was interrupted.
	Order   string `json:"order"`
	Paid    *Table `json:"paid"`
	Refused *Table `json:"refused"`
}

// First pays the first order, and has another one refused, or remembers both. again tells that nothing was paid now.
func (d *Demo) First(ctx context.Context) (first First, again bool, err error) {
	file := filepath.Join(d.stack.Dir(), "demo-table.json")
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &first)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return First{}, false, fmt.Errorf("%s: %w: delete it to see new payments", file, err)
	}
	if first.Paid != nil && first.Refused != nil {
		return first, true, nil
	}
	if err := d.Reset(ctx); err != nil {
		return First{}, false, err
	}
	save := func() error {
		data, err := json.MarshalIndent(first, "", "  ")
		if err != nil {
			return err
		}
		return os.WriteFile(file, append(data, '\n'), 0o600)
	}
	if first.Paid == nil {
		o, err := d.firstOrder(ctx, first.Order)
		if err != nil {
			return First{}, false, err
		}
		first.Order = o.ID
		if err := save(); err != nil {
			return First{}, false, err
		}
		t, err := d.pay(ctx, o)
		if err != nil {
			return First{}, false, err
		}
		first.Paid = &t
		if err := save(); err != nil {
			return First{}, false, err
		}
	}
	t, err := d.Refuse(ctx)
	if err != nil {
		return First{}, false, err
	}
	first.Refused = &t
	return first, false, save()
}

// firstOrder is the order of an interrupted demo when it can still be paid, else a new one.
func (d *Demo) firstOrder(ctx context.Context, id string) (order, error) {
	if id == "" {
		return d.order(ctx)
	}
	var o order
	err := d.shopper.do(ctx, http.MethodGet, "/v1/orders/"+id, nil, &o)
	if err == nil && o.Status == "UPDATING" {
		o, err = d.settled(ctx, id)
	}
	if answered(err, http.StatusNotFound) || err == nil && o.Status != "CREATED" {
		return d.order(ctx)
	}
	return o, err
}
