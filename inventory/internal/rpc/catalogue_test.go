package rpc_test

import (
	"database/sql"
	"fmt"
	"sync"
	"testing"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventv1 "example.com/fourfold/api/event/v1"
	inventoryv1 "example.com/fourfold/api/inventory/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/idempotency"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/inventory/internal/mysql"
	"example.com/fourfold/inventory/internal/rpc"
	"example.com/fourfold/inventory/migrations"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// opened returns a catalogue without products, and its database.
func opened(t *testing.T) (*rpc.Catalogue, *sql.DB) {
	t.Helper()
	db := mysqltest.Open(t, migrations.FS, mq.Tables())
	return rpc.NewCatalogue(mysql.NewStore(db, mqtest.Absent(t, db, "inventory")), idempotency.New(db)), db
}

func catalogue(t *testing.T, products ...*inventoryv1.CreateProductRequest) *rpc.Catalogue {
	t.Helper()
	c, _ := opened(t)
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

// search returns the skus of the products that q finds.
func search(t *testing.T, c *rpc.Catalogue, q string) []string {
	t.Helper()
	reply, err := c.ListProducts(t.Context(), &inventoryv1.ListProductsRequest{Q: q})
	require.NoError(t, err, "q=%s", q)
	return skus(reply.GetProducts())
}

// TestSearch tests that parts of names are found in any script; % and _ are characters like any other.
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
		assert.Equal(t, want, search(t, c, q), "q=%s", q)
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

// TestSearchKnowsUnicode: each emoji is itself, though all of them are beyond what two bytes hold; case and accents make no difference, in a SKU
// either.
func TestSearchKnowsUnicode(t *testing.T) {
	t.Parallel()
	c := catalogue(t,
		&inventoryv1.CreateProductRequest{Sku: "Tea-1", Name: "🍵 茶", PriceCents: 1},
		&inventoryv1.CreateProductRequest{Sku: "cake", Name: "🍰 Gâteau", PriceCents: 1},
		&inventoryv1.CreateProductRequest{Sku: "rare", Name: "𠮷野家", PriceCents: 1})
	for q, want := range map[string][]string{
		"🍵": {"Tea-1"}, "🍰": {"cake"}, "🎂": nil, "𠮷": {"rare"}, "𠀋": nil, "吉": nil,
		"TEA-1": {"Tea-1"}, "tea-": {"Tea-1"}, "CAKE": {"cake"}, "GATEAU": {"cake"}, "gâTeau": {"cake"},
	} {
		assert.Equal(t, want, search(t, c, q), "q=%s", q)
	}
}

// TestSkusAreExact tests that upper and lower case are different products, and that an unknown sku is not found in any script.
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

// TestStock tests that receiving adds to received and sellable, and that the stock of no product is 404.
func TestStock(t *testing.T) {
	t.Parallel()
	c := catalogue(t, &inventoryv1.CreateProductRequest{Sku: "a", Name: "a", PriceCents: 1})
	for _, want := range []int64{5, 10} {
		level, err := c.ReceiveStock(service.WithIdempotencyKey(t.Context(), fmt.Sprint(want)), &inventoryv1.ReceiveStockRequest{Sku: "a", Quantity: 5})
		require.NoError(t, err)
		assert.Equal(t, want, level.GetSellable())
		assert.Equal(t, want, level.GetReceived())
	}
	_, err := c.ReceiveStock(service.WithIdempotencyKey(t.Context(), "b"), &inventoryv1.ReceiveStockRequest{Sku: "b", Quantity: 5})
	assert.Equal(t, 404, kerrors.Code(err))
	_, err = c.GetStock(t.Context(), &inventoryv1.GetStockRequest{Sku: "b"})
	assert.Equal(t, 404, kerrors.Code(err))
}

// told returns the product events that wait to be sent.
func told(t *testing.T, db *sql.DB) (lines []string) {
	t.Helper()
	for _, e := range mqtest.Outbox[eventv1.ProductChanged](t, db, "inventory-events") {
		assert.Equal(t, []string{"/inventory", "product.changed", e.Data.GetSku()}, []string{e.Source, e.Type, e.Subject})
		lines = append(lines, fmt.Sprint(e.Subject, " ", e.Sequence, ": ", e.Data.GetName(), " at ", e.Data.GetPriceCents()))
	}
	return lines
}

// TestChanges tests that creating or changing a product publishes it with the number of the change, and that a change of nothing does not.
func TestChanges(t *testing.T) {
	t.Parallel()
	c, db := opened(t)
	ctx := t.Context()
	_, err := c.CreateProduct(ctx, &inventoryv1.CreateProductRequest{Sku: "a", Name: "阿", PriceCents: 5})
	require.NoError(t, err)
	_, err = c.CreateProduct(ctx, &inventoryv1.CreateProductRequest{Sku: "a", Name: "again", PriceCents: 5})
	require.Equal(t, "PRODUCT_EXISTS", kerrors.Reason(err))
	_, err = c.ReceiveStock(service.WithIdempotencyKey(ctx, "a"), &inventoryv1.ReceiveStockRequest{Sku: "a", Quantity: 7})
	require.NoError(t, err)
	name, price := "乙", int64(6)
	for _, change := range []struct {
		req  *inventoryv1.ChangeProductRequest
		want string
	}{
		{&inventoryv1.ChangeProductRequest{Sku: "a", PriceCents: &price}, "阿 6 7"},
		{&inventoryv1.ChangeProductRequest{Sku: "a", PriceCents: &price}, "阿 6 7"},
		{&inventoryv1.ChangeProductRequest{Sku: "a", Name: &name}, "乙 6 7"},
		{&inventoryv1.ChangeProductRequest{Sku: "a", Name: new("丙"), PriceCents: new(int64(8))}, "丙 8 7"},
	} {
		p, err := c.ChangeProduct(ctx, change.req)
		require.NoError(t, err)
		assert.Equal(t, change.want, fmt.Sprint(p.GetName(), " ", p.GetPriceCents(), " ", p.GetSellable()))
		is, err := c.GetProduct(ctx, &inventoryv1.GetProductRequest{Sku: "a"})
		require.NoError(t, err)
		assert.Equal(t, change.want, fmt.Sprint(is.GetName(), " ", is.GetPriceCents(), " ", is.GetSellable()))
	}
	_, err = c.ChangeProduct(ctx, &inventoryv1.ChangeProductRequest{Sku: "A", PriceCents: &price})
	require.Equal(t, 404, kerrors.Code(err), "%v", err)
	_, err = c.ChangeProduct(ctx, &inventoryv1.ChangeProductRequest{Sku: "a"})
	require.Equal(t, 400, kerrors.Code(err), "%v", err)
	require.ErrorContains(t, err, "price_cents")
	require.Equal(t, []string{"a 1: 阿 at 5", "a 2: 阿 at 6", "a 3: 乙 at 6", "a 4: 丙 at 8"}, told(t, db))
}

// TestRacingChanges tests that each of many concurrent changes has a number of its own, and that the last one published is the current one.
func TestRacingChanges(t *testing.T) {
	t.Parallel()
	c, db := opened(t)
	_, err := c.CreateProduct(t.Context(), &inventoryv1.CreateProductRequest{Sku: "a", Name: "a", PriceCents: 1})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for i := range int64(10) {
		wg.Go(func() {
			_, err := c.ChangeProduct(t.Context(), &inventoryv1.ChangeProductRequest{Sku: "a", PriceCents: new(i + 2)})
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	p, err := c.GetProduct(t.Context(), &inventoryv1.GetProductRequest{Sku: "a"})
	require.NoError(t, err)
	lines := told(t, db)
	require.Len(t, lines, 11)
	assert.Equal(t, fmt.Sprint("a 11: a at ", p.GetPriceCents()), lines[10])
}

// TestToldOrNotDone tests that there is no product and no change when the event cannot be written.
func TestToldOrNotDone(t *testing.T) {
	t.Parallel()
	c, db := opened(t)
	_, err := c.CreateProduct(t.Context(), &inventoryv1.CreateProductRequest{Sku: "a", Name: "a", PriceCents: 1})
	require.NoError(t, err)
	_, err = mysqltest.Owner(t, db).ExecContext(t.Context(), "RENAME TABLE mq_outbox TO elsewhere")
	require.NoError(t, err)
	_, err = c.CreateProduct(t.Context(), &inventoryv1.CreateProductRequest{Sku: "b", Name: "b", PriceCents: 1})
	require.Error(t, err)
	_, err = c.ChangeProduct(t.Context(), &inventoryv1.ChangeProductRequest{Sku: "a", PriceCents: new(int64(2))})
	require.Error(t, err)
	require.Equal(t, "a 1 1\n--\na\n--\n", mysqltest.Dump(t, db, "SELECT sku, price_cents, version FROM product", "SELECT sku FROM stock"))
}
