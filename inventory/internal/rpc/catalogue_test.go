package rpc_test

import (
	"testing"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	inventoryv1 "example.com/fourfold/api/inventory/v1"
	"example.com/fourfold/chassis/mysql/mysqltest"
	"example.com/fourfold/inventory/internal/mysql"
	"example.com/fourfold/inventory/internal/rpc"
	"example.com/fourfold/inventory/migrations"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

func catalogue(t *testing.T, products ...*inventoryv1.CreateProductRequest) *rpc.Catalogue {
	t.Helper()
	c := rpc.NewCatalogue(mysql.NewStore(mysqltest.Open(t, migrations.FS)))
	for _, p := range products {
		_, err := c.CreateProduct(t.Context(), p)
		require.NoError(t, err)
	}
	return c
}

func skus(products []*inventoryv1.Product) []string {
	var out []string
	for _, p := range products {
		out = append(out, p.GetSku())
	}
	return out
}

// TestSearch finds parts of names in any script; % and _ are letters like others.
func TestSearch(t *testing.T) {
	t.Parallel()
	c := catalogue(t,
		&inventoryv1.CreateProductRequest{Sku: "tea-1", Name: "龙井茶 Longjing tea", PriceCents: 100},
		&inventoryv1.CreateProductRequest{Sku: "tea_2", Name: "红茶 100% black", PriceCents: 100},
		&inventoryv1.CreateProductRequest{Sku: "cup", Name: "杯子 cup", PriceCents: 100})
	for q, want := range map[string][]string{
		"":         {"cup", "tea-1", "tea_2"},
		"茶":        {"tea-1", "tea_2"},
		"LONGJING": {"tea-1"},
		"100%":     {"tea_2"},
		"a_2":      {"tea_2"},
		"%":        {"tea_2"},
		`\`:        nil,
		"咖啡":       nil,
	} {
		reply, err := c.ListProducts(t.Context(), &inventoryv1.ListProductsRequest{Q: q})
		require.NoError(t, err, "q=%s", q)
		assert.Equal(t, want, skus(reply.GetProducts()), "q=%s", q)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	c := catalogue(t,
		&inventoryv1.CreateProductRequest{Sku: "a", Name: "a", PriceCents: 1},
		&inventoryv1.CreateProductRequest{Sku: "b", Name: "b", PriceCents: 1},
		&inventoryv1.CreateProductRequest{Sku: "c", Name: "c", PriceCents: 1})
	var pages [][]string
	token := ""
	for {
		reply, err := c.ListProducts(t.Context(), &inventoryv1.ListProductsRequest{PageSize: 2, PageToken: token})
		require.NoError(t, err)
		pages = append(pages, skus(reply.GetProducts()))
		if token = reply.GetNextPageToken(); token == "" {
			break
		}
	}
	assert.Equal(t, [][]string{{"a", "b"}, {"c"}}, pages)
}

// TestSkusAreExact: upper and lower case are different products, and what nobody sells is not found in any script.
func TestSkusAreExact(t *testing.T) {
	t.Parallel()
	c := catalogue(t,
		&inventoryv1.CreateProductRequest{Sku: "tea", Name: "small", PriceCents: 1},
		&inventoryv1.CreateProductRequest{Sku: "TEA", Name: "large", PriceCents: 2})
	p, err := c.GetProduct(t.Context(), &inventoryv1.GetProductRequest{Sku: "TEA"})
	require.NoError(t, err)
	assert.Equal(t, "large", p.GetName())
	for _, sku := range []string{"Tea", "茶", "tea' OR 1=1 -- ", "😀"} {
		_, err = c.GetProduct(t.Context(), &inventoryv1.GetProductRequest{Sku: sku})
		assert.Equal(t, 404, kerrors.Code(err), "%s: %v", sku, err)
	}
	reply, err := c.PriceProducts(t.Context(), &inventoryv1.PriceProductsRequest{Skus: []string{"tea", "茶", "Tea"}})
	require.NoError(t, err)
	assert.Equal(t, []string{"tea"}, skus(reply.GetProducts()))
	_, err = c.CreateProduct(t.Context(), &inventoryv1.CreateProductRequest{Sku: "tea", Name: "again", PriceCents: 1})
	assert.Equal(t, "PRODUCT_EXISTS", kerrors.Reason(err))
}

// TestStock: receiving adds to received and sellable; the books of nothing are 404.
func TestStock(t *testing.T) {
	t.Parallel()
	c := catalogue(t, &inventoryv1.CreateProductRequest{Sku: "a", Name: "a", PriceCents: 1})
	for _, want := range []int64{5, 10} {
		level, err := c.ReceiveStock(t.Context(), &inventoryv1.ReceiveStockRequest{Sku: "a", Quantity: 5})
		require.NoError(t, err)
		assert.Equal(t, want, level.GetSellable())
		assert.Equal(t, want, level.GetReceived())
	}
	_, err := c.ReceiveStock(t.Context(), &inventoryv1.ReceiveStockRequest{Sku: "b", Quantity: 5})
	assert.Equal(t, 404, kerrors.Code(err))
	_, err = c.GetStock(t.Context(), &inventoryv1.GetStockRequest{Sku: "b"})
	assert.Equal(t, 404, kerrors.Code(err))
}
