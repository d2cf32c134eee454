// Package catalogue keeps order's copy of the products that inventory sells.
package catalogue

import (
	"context"
	"database/sql"
	"fmt"

	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/order/internal/mysql"
)

// Subscription returns order's subscription to inventory's products: the newest change of each product. A change holds the whole product, so the
// consumer waits for no earlier one.
func Subscription() mq.Subscription {
	return mq.Subscription{Group: "order-products", Topic: eventv1.TopicProducts, Types: []string{eventv1.TypeProductChanged}, Order: mq.Newest}
}

// Copy keeps the store's copy of the catalogue up to date.
type Copy struct{ store *mysql.Store }

// New returns a Copy that writes to store.
func New(store *mysql.Store) *Copy { return &Copy{store} }

// Handle stores the name and price that e holds of a product.
func (c *Copy) Handle(ctx context.Context, tx *sql.Tx, e mq.Event) error {
	var p eventv1.ProductChanged
	if err := e.Read(&p); err != nil {
		return err
	}
	if p.GetSku() == "" || p.GetSku() != e.Subject || p.GetPriceCents() < 1 || e.Sequence < 1 {
		return fmt.Errorf("%w: change %d of %q: the product is %q at %d cents", mq.ErrPoison, e.Sequence, e.Subject, p.GetSku(),
			p.GetPriceCents())
	}
	return c.store.KeepProduct(ctx, tx, mysql.Product{
		SKU: p.GetSku(), Name: p.GetName(), PriceCents: p.GetPriceCents(), Version: e.Sequence, Generation: e.Generation,
	})
}
