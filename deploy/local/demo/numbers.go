package demo

import (
	"context"
	"database/sql"
	"errors"
	"net/http"

	_ "github.com/go-sql-driver/mysql" // the slips of open payments are in no list
)

// Numbers are what the four participants of a payment say at one moment.
type Numbers struct {
	Order            string `json:"order"`
	Sellable         int64  `json:"sellable"`
	Frozen           int64  `json:"frozen"`
	Credit           int64  `json:"credit"`
	PrepareAddCredit int64  `json:"prepare_add_credit"`
	Slip             string `json:"slip"`
}

type order struct {
	ID         string `json:"id"`
	Status     string `json:"status"`
	Reason     string `json:"reason"`
	TotalCents int64  `json:"total_cents"`
	Points     int64  `json:"points"`
}

// numbers reads them from the API; the slip from wms' database, since the warehouse does not see those of open payments.
func (d *Demo) numbers(ctx context.Context, orderID string) (Numbers, error) {
	var (
		o       order
		stock   stock
		account struct {
			Credit           int64 `json:"credit"`
			PrepareAddCredit int64 `json:"prepare_add_credit"`
		}
		slip = "none"
	)
	err := d.shopper.do(ctx, http.MethodGet, "/v1/orders/"+orderID, nil, &o)
	if err == nil {
		err = d.operator.do(ctx, http.MethodGet, "/v1/ops/products/"+sku+"/stock", nil, &stock)
	}
	if err == nil {
		err = d.shopper.do(ctx, http.MethodGet, "/v1/members/me/credit", nil, &account)
	}
	if err == nil {
		err = d.wms.QueryRowContext(ctx, "SELECT status FROM delivery_slip WHERE order_id = ?", orderID).Scan(&slip)
		if errors.Is(err, sql.ErrNoRows) {
			err = nil
		}
	}
	return Numbers{o.Status, stock.Sellable, stock.Frozen, account.Credit, account.PrepareAddCredit, slip}, err
}
