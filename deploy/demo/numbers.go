package demo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"

	_ "github.com/go-sql-driver/mysql" // no API lists the rows of open transactions
)

// Numbers are what the four participants say about an order at one moment.
type Numbers struct {
	Order    string `json:"order"`
	Sellable int64  `json:"sellable"`
	Frozen   int64  `json:"frozen"`
	Sold     int64  `json:"sold"`
	// Freeze is the status of the order's row in inventory, "none" when there is none. It is empty in older records, which have no Sold either.
	Freeze              string `json:"freeze"`
	Credit              int64  `json:"credit"`
	PrepareAddCredit    int64  `json:"prepare_add_credit"`
	PrepareDeductCredit int64  `json:"prepare_deduct_credit"`
	// Slip is the status of the order's delivery slip, "none" when there is none.
	Slip string `json:"slip"`
}

type order struct {
	ID         string `json:"id"`
	Status     string `json:"status"`
	Reason     string `json:"reason"`
	TotalCents int64  `json:"total_cents"`
	Points     int64  `json:"points"`
}

// numbers reads the numbers from the API, but the order's rows at inventory and wms from their databases, because no API shows those of open
// transactions.
func (d *Demo) numbers(ctx context.Context, orderID string) (Numbers, error) {
	n := Numbers{}
	err := d.balances(ctx, &n)
	if err == nil {
		var o order
		err = d.shopper.do(ctx, http.MethodGet, "/v1/orders/"+orderID, nil, &o)
		n.Order = o.Status
	}
	if err == nil {
		n.Freeze, err = d.status(ctx, "SELECT status FROM shop_inventory.stock_freeze WHERE order_id = ? AND sku = ?", orderID, sku)
	}
	if err == nil {
		n.Slip, err = d.status(ctx, "SELECT status FROM shop_wms.delivery_slip WHERE order_id = ?", orderID)
	}
	return n, err
}

// balances reads the numbers that do not belong to one order: the stock of the demo's product, the shopper's points.
func (d *Demo) balances(ctx context.Context, n *Numbers) error {
	var (
		stock   stock
		account struct {
			Credit              int64 `json:"credit"`
			PrepareAddCredit    int64 `json:"prepare_add_credit"`
			PrepareDeductCredit int64 `json:"prepare_deduct_credit"`
		}
	)
	err := d.operator.do(ctx, http.MethodGet, "/v1/ops/products/"+sku+"/stock", nil, &stock)
	if err == nil {
		err = d.shopper.do(ctx, http.MethodGet, "/v1/members/me/credit", nil, &account)
	}
	n.Sellable, n.Frozen, n.Sold = stock.Sellable, stock.Frozen, stock.Sold
	n.Credit, n.PrepareAddCredit, n.PrepareDeductCredit = account.Credit, account.PrepareAddCredit, account.PrepareDeductCredit
	return err
}

// status returns the only value of a query's only row, "none" when there is no row.
func (d *Demo) status(ctx context.Context, query string, args ...any) (string, error) {
	status := "none"
	err := d.reader.QueryRowContext(ctx, query, args...).Scan(&status)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return status, err
}

// balance returns n without what belongs to one order.
func (n Numbers) balance() Numbers {
	n.Order, n.Freeze, n.Slip = "", "", ""
	return n
}

// String returns the balance in words. Prepared points are left out when there are none.
func (n Numbers) String() string {
	text := fmt.Sprintf("sellable %d, frozen %d, sold %d, credit %d", n.Sellable, n.Frozen, n.Sold, n.Credit)
	if n.PrepareAddCredit != 0 || n.PrepareDeductCredit != 0 {
		text += fmt.Sprintf(" (prepared +%d −%d)", n.PrepareAddCredit, n.PrepareDeductCredit)
	}
	return text
}
