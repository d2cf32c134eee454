package rpc

import (
	"context"
	"fmt"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"

	inventoryv1 "example.com/fourfold/api/inventory/v1"
	"example.com/fourfold/order/internal/answer"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/order"
)

// price fills in names and prices: from the copy of the catalogue, which lags by a moment at most while messages flow, and from inventory for
// what the copy does not have. So orders for known products are taken while inventory is away. It returns ErrInvalid, which names the first
// product that does not exist, or TRY_LATER when only inventory could say so.
func (s *Orders) price(ctx context.Context, lines []order.Line) ([]order.Line, error) {
	skus := make([]string, len(lines))
	for i, l := range lines {
		skus[i] = l.SKU
	}
	products, err := s.store.Products(ctx, skus)
	if err != nil {
		return nil, err
	}
	if err := s.ask(ctx, skus, products); err != nil {
		return nil, err
	}
	for i, l := range lines {
		p, ok := products[l.SKU]
		if !ok {
			return nil, fmt.Errorf("%w: lines: there is no product %q", order.ErrInvalid, l.SKU)
		}
		lines[i].Name, lines[i].PriceCents = p.Name, p.PriceCents
	}
	return lines, nil
}

// ask adds to products those of skus that it lacks and that inventory has.
func (s *Orders) ask(ctx context.Context, skus []string, products map[string]mysql.Product) error {
	var missing []string
	for _, sku := range skus {
		if _, ok := products[sku]; !ok {
			missing = append(missing, sku)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	reply, err := s.catalogue.PriceProducts(ctx, &inventoryv1.PriceProductsRequest{Skus: missing})
	if err != nil {
		return answer.TryLater("the catalogue does not answer").(*kerrors.Error).WithCause(err)
	}
	for _, p := range reply.GetProducts() {
		products[p.GetSku()] = mysql.Product{SKU: p.GetSku(), Name: p.GetName(), PriceCents: p.GetPriceCents()}
	}
	return nil
}
