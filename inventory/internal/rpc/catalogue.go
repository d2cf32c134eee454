package rpc

import (
	"context"
	"database/sql"
	"errors"
	"net/http"

	inventoryv1 "example.com/fourfold/api/inventory/v1"
	"example.com/fourfold/chassis/idempotency"
	"example.com/fourfold/chassis/page"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/inventory/internal/mysql"
	"example.com/fourfold/inventory/internal/stock"
)

// Catalogue serves products and their stock.
type Catalogue struct {
	inventoryv1.UnimplementedCatalogueServer
	store   *mysql.Store
	answers *idempotency.Answers
}

// NewCatalogue returns the service over store. answers are on its database.
func NewCatalogue(store *mysql.Store, answers *idempotency.Answers) *Catalogue {
	return &Catalogue{store: store, answers: answers}
}

// ListProducts returns a page of products.
func (c *Catalogue) ListProducts(ctx context.Context, req *inventoryv1.ListProductsRequest) (*inventoryv1.ListProductsReply, error) {
	list := page.Of("products", req.GetQ())
	after, err := list.After(req.GetPageToken())
	if err != nil {
		return nil, inventoryv1.ErrorProductInvalid("%v", err)
	}
	size := page.Size(req.GetPageSize())
	products, err := c.store.Search(ctx, req.GetQ(), after, size+1)
	if err != nil {
		return nil, err
	}
	reply := &inventoryv1.ListProductsReply{}
	reply.Products, reply.NextPageToken = page.Cut(list, products, size, func(p stock.Product) string { return p.SKU }, protoProduct)
	return reply, nil
}

// GetProduct returns one product, or PRODUCT_NOT_FOUND.
func (c *Catalogue) GetProduct(ctx context.Context, req *inventoryv1.GetProductRequest) (*inventoryv1.Product, error) {
	p, err := c.store.Product(ctx, req.GetSku())
	if err != nil {
		return nil, found(err)
	}
	return protoProduct(p), nil
}

// PriceProducts returns those of the products that exist.
func (c *Catalogue) PriceProducts(ctx context.Context, req *inventoryv1.PriceProductsRequest) (*inventoryv1.PriceProductsReply, error) {
	products, err := c.store.Products(ctx, req.GetSkus())
	if err != nil {
		return nil, err
	}
	return &inventoryv1.PriceProductsReply{Products: protoProducts(products)}, nil
}

// CreateProduct adds a product without stock.
func (c *Catalogue) CreateProduct(ctx context.Context, req *inventoryv1.CreateProductRequest) (*inventoryv1.Product, error) {
	p := stock.Product{SKU: req.GetSku(), Name: req.GetName(), PriceCents: req.GetPriceCents()}
	if err := c.store.CreateProduct(ctx, p); err != nil {
		return nil, Error(err)
	}
	service.Code(ctx, http.StatusCreated)
	return protoProduct(p), nil
}

// ChangeProduct changes the name or the price of a product. It answers PRODUCT_NOT_FOUND, or PRODUCT_INVALID when nothing is to be changed.
func (c *Catalogue) ChangeProduct(ctx context.Context, req *inventoryv1.ChangeProductRequest) (*inventoryv1.Product, error) {
	if req.Name == nil && req.PriceCents == nil {
		return nil, inventoryv1.ErrorProductInvalid("give name, price_cents or both")
	}
	p, err := c.store.ChangeProduct(ctx, req.GetSku(), req.Name, req.PriceCents)
	if err != nil {
		return nil, found(err)
	}
	return protoProduct(p), nil
}

// ReceiveStock adds received units, once for each Idempotency-Key.
func (c *Catalogue) ReceiveStock(ctx context.Context, req *inventoryv1.ReceiveStockRequest) (*inventoryv1.Stock, error) {
	call, err := c.answers.Call(ctx, "products/"+req.GetSku()+"/stock", req)
	if err != nil {
		return nil, err
	}
	if s, err := idempotency.Earlier[inventoryv1.Stock](ctx, call); s != nil || err != nil {
		return s, err
	}
	var reply *inventoryv1.Stock
	err = c.store.Receive(ctx, req.GetSku(), req.GetQuantity(), func(tx *sql.Tx, level stock.Level) error {
		reply = protoLevel(level)
		return call.Keep(ctx, tx, http.StatusOK, reply)
	})
	if errors.Is(err, idempotency.ErrAnswered) {
		return idempotency.Earlier[inventoryv1.Stock](ctx, call)
	}
	if err != nil {
		return nil, found(err)
	}
	return reply, nil
}

// GetStock returns a product's stock.
func (c *Catalogue) GetStock(ctx context.Context, req *inventoryv1.GetStockRequest) (*inventoryv1.Stock, error) {
	level, err := c.store.Level(ctx, req.GetSku())
	if err != nil {
		return nil, found(err)
	}
	return protoLevel(level), nil
}

// found is Error for calls that name a product in their path, where an unknown product is 404.
func found(err error) error {
	if errors.Is(err, stock.ErrUnknown) {
		return inventoryv1.ErrorProductNotFound("%v", err)
	}
	return Error(err)
}

func protoProducts(products []stock.Product) []*inventoryv1.Product {
	out := make([]*inventoryv1.Product, len(products))
	for i, p := range products {
		out[i] = protoProduct(p)
	}
	return out
}

func protoProduct(p stock.Product) *inventoryv1.Product {
	return &inventoryv1.Product{Sku: p.SKU, Name: p.Name, PriceCents: p.PriceCents, Sellable: p.Sellable}
}

func protoLevel(l stock.Level) *inventoryv1.Stock {
	return &inventoryv1.Stock{Sku: l.SKU, Sellable: l.Sellable, Frozen: l.Frozen, Sold: l.Sold, Received: l.Received}
}
