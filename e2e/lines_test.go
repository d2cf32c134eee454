package e2e_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestBooksSeeEveryLine spoils one line of an order of two in one database, so that all sums there still add up, and requires that exactly the
// checks of lines find it.
func TestBooksSeeEveryLine(t *testing.T) {
	c := shopper(t)
	skus := []string{product(t, 500, 100), product(t, 300, 100)}
	bought := func(t *testing.T) string {
		a := c.must(t, 201, "POST", "/v1/orders", map[string]any{"lines": []any{
			map[string]any{"sku": skus[0], "quantity": 1}, map[string]any{"sku": skus[1], "quantity": 2}}})
		require.Equal(t, 200, c.pay(t, a.Body.ID).code)
		return a.Body.ID
	}
	const (
		deducted = "each line of a PAID order is deducted"
		returned = "each line of a REFUNDED order is returned"
		onSlip   = "each line of a PAID order is on its slip"
		ofOrder  = "what was frozen or is on a slip is a line of its order"
	)
	for name, s := range map[string]struct {
		service string
		refund  bool
		// spoil and mend are statements in which $id is the order's id and $sku the second line's sku.
		spoil, mend []string
		found       []string
	}{
		"the second line was never deducted": {
			service: "shop_inventory",
			spoil: []string{"DELETE FROM stock_freeze WHERE order_id = '$id' AND sku = '$sku'",
				"UPDATE stock SET sold = sold - 2, sellable = sellable + 2 WHERE sku = '$sku'"},
			mend: []string{`INSERT INTO stock_freeze (order_id, sku, gid, quantity, status)
				SELECT '$id', '$sku', gid, 2, status FROM stock_freeze WHERE order_id = '$id'`,
				"UPDATE stock SET sold = sold + 2, sellable = sellable - 2 WHERE sku = '$sku'"},
			found: []string{deducted},
		},
		"one unit too few was deducted": {
			service: "shop_inventory",
			spoil: []string{"UPDATE stock_freeze SET quantity = 1 WHERE order_id = '$id' AND sku = '$sku'",
				"UPDATE stock SET sold = sold - 1, sellable = sellable + 1 WHERE sku = '$sku'"},
			mend: []string{"UPDATE stock_freeze SET quantity = 2 WHERE order_id = '$id' AND sku = '$sku'",
				"UPDATE stock SET sold = sold + 1, sellable = sellable - 1 WHERE sku = '$sku'"},
			found: []string{deducted, ofOrder},
		},
		"the second line was never returned": {
			service: "shop_inventory", refund: true,
			spoil: []string{"DELETE FROM stock_freeze WHERE order_id = '$id' AND sku = '$sku'"},
			mend: []string{`INSERT INTO stock_freeze (order_id, sku, gid, quantity, status)
				SELECT '$id', '$sku', gid, 2, status FROM stock_freeze WHERE order_id = '$id'`},
			found: []string{returned},
		},
		"the second line is not on the slip": {
			service: "shop_wms",
			spoil:   []string{"DELETE FROM delivery_line WHERE sku = '$sku' AND slip_id = (SELECT id FROM delivery_slip WHERE order_id = '$id')"},
			mend:    []string{"INSERT INTO delivery_line (slip_id, sku, quantity) SELECT id, '$sku', 2 FROM delivery_slip WHERE order_id = '$id'"},
			found:   []string{onSlip},
		},
		"the slip has a line of its own": {
			service: "shop_wms",
			spoil:   []string{"INSERT INTO delivery_line (slip_id, sku, quantity) SELECT id, 'e2e-other', 1 FROM delivery_slip WHERE order_id = '$id'"},
			mend:    []string{"DELETE FROM delivery_line WHERE sku = 'e2e-other'"},
			found:   []string{ofOrder},
		},
	} {
		t.Run(name, func(t *testing.T) {
			id := bought(t)
			if s.refund {
				c.must(t, 200, "POST", "/v1/orders/"+id+"/refund", nil)
			}
			requireBooks(t)
			write := func(statements []string) {
				for _, statement := range statements {
					statement = strings.NewReplacer("$id", id, "$sku", skus[1]).Replace(statement)
					_, err := open(t, shared.DSN(s.service)).ExecContext(t.Context(), statement)
					assert.NoError(t, err, statement)
				}
			}
			write(s.spoil)
			var want []string
			for _, check := range s.found {
				want = append(want, check+": "+id)
			}
			assert.ElementsMatch(t, want, bookProblems(t, target))
			write(s.mend)
			requireBooks(t)
		})
	}
}
