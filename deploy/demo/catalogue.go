package demo

import (
	"context"
	"net/http"

	"example.com/fourfold/deploy/system"
)

type product struct {
	SKU        string `json:"sku"`
	Name       string `json:"name"`
	PriceCents int64  `json:"price_cents"`
	stock      int64
}

// sku is the product that the demo buys.
const sku = "sku-demo"

var catalogue = []product{
	{sku, "Notebook, squared · 方格笔记本", 500, 100},
	{"tea-longjing", "Longjing green tea, 250 g · 西湖龙井 250克", 12800, 60},
	{"tea-puer", "Pu'er tea cake, 357 g · 普洱茶饼 357克", 16800, 40},
	{"cup-celadon", "Celadon cup · 龙泉青瓷杯", 8900, 80},
	{"fan-silk", "Silk fan · 真丝团扇", 4500, 120},
	{"brush-writing", "Calligraphy brush · 毛笔", 3200, 200},
	{"book-journey", "Journey to the West, illustrated · 西游记（插图本）", 6800, 50},
	{"lamp-paper", "Rice paper lamp · 宣纸台灯", 15900, 30},
}

// stock is a product's stock as the operator sees it.
type stock struct {
	Sellable int64 `json:"sellable"`
	Frozen   int64 `json:"frozen"`
	Sold     int64 `json:"sold"`
	Received int64 `json:"received"`
}

// Catalogue adds the products that are not there to the system of the data folder dir, and the first stock to those that never had any, and
// returns how many products there are. Like New it waits until no other process does so.
func Catalogue(ctx context.Context, dir string) (int, error) {
	t, err := system.ReadTarget(dir)
	if err != nil {
		return 0, err
	}
	c, err := signIn(ctx, t.Gateway, t.Operator)
	if err != nil {
		return 0, err
	}
	unlock, err := lock(ctx, dir)
	if err != nil {
		return 0, err
	}
	defer unlock()
	for _, p := range catalogue {
		var now stock
		path := "/v1/ops/products/" + p.SKU + "/stock"
		err := c.do(ctx, http.MethodGet, path, nil, &now)
		if answered(err, http.StatusNotFound) {
			err = c.do(ctx, http.MethodPost, "/v1/ops/products", p, nil)
		}
		if err == nil && now.Received == 0 {
			err = c.send(ctx, http.MethodPost, path, "first-stock", map[string]int64{"quantity": p.stock}, nil)
		}
		if err != nil {
			return 0, err
		}
	}
	return len(catalogue), nil
}
