package mysql

import (
	"fmt"
	"maps"
	"slices"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/batch"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/inventory/internal/stock"
)

// Freezing is a payment's call of inventory: the lines that Try sets aside, sorted. Confirm and Cancel need none, they find them in the rows.
type Freezing = tcc.Of[[]stock.Line]

// Freeze is the Try of payments: it sets their lines aside, sellable to frozen. It refuses with stock.ErrNotEnough or stock.ErrUnknown, which
// name the line.
func (s *Store) Freeze() batch.Work[Freezing] {
	sellable := map[string]int64{}
	return batch.Work[Freezing]{
		Read: func(items []*batch.Item[Freezing]) (reads []batch.Statement) {
			skus := map[string]bool{}
			for _, i := range items {
				for _, l := range i.Request.Request {
					skus[l.SKU] = true
				}
			}
			// A list of a thousand values would be made a table, and read in another order.
			for some := range slices.Chunk(slices.Sorted(maps.Keys(skus)), 500) {
				in, args := database.In(some)
				reads = append(reads, batch.Find("SELECT sku, sellable FROM stock FORCE INDEX (PRIMARY) WHERE sku IN ("+in+") ORDER BY sku FOR UPDATE",
					args, func(scan func(...any) error) error {
						var sku string
						var units int64
						err := scan(&sku, &units)
						sellable[sku] = units
						return err
					}))
			}
			return reads
		},
		Write: func(items []*batch.Item[Freezing]) ([]batch.Statement, error) {
			taken := map[string]int64{}
			var freezes batch.Values
			for _, i := range items {
				if err := enough(sellable, i.Request.Request); err != nil {
					i.Refuse(err)
					continue
				}
				for _, l := range i.Request.Request {
					sellable[l.SKU] -= l.Quantity
					taken[l.SKU] += l.Quantity
					freezes.Add(i.Request.Subject, l.SKU, i.Request.GID, l.Quantity, string(stock.Freeze.Transition().To))
				}
			}
			return append(freezes.Into("stock_freeze (order_id, sku, gid, quantity, status)"),
				move(taken, "UPDATE stock SET sellable = sellable - ?, frozen = frozen + ? WHERE sku = ?")...), nil
		},
	}
}

// enough returns nil when all lines are among the sellable units.
func enough(sellable map[string]int64, lines []stock.Line) error {
	for _, l := range lines {
		units, known := sellable[l.SKU]
		if !known {
			return fmt.Errorf("%w: %s", stock.ErrUnknown, l.SKU)
		}
		if units < l.Quantity {
			return fmt.Errorf("%w: %d of %s", stock.ErrNotEnough, l.Quantity, l.SKU)
		}
	}
	return nil
}

// Deduct is the Confirm of payments: it sells what their Try froze, frozen to sold. It refuses with tcc.ErrNotTried where nothing is frozen.
func (s *Store) Deduct() batch.Work[Freezing] {
	return settle(stock.Deduct, "UPDATE stock SET frozen = frozen - ?, sold = sold + ? WHERE sku = ?")
}

// Release is the Cancel of payments: it puts back what their Try froze, frozen to sellable. It refuses with tcc.ErrNotTried where nothing is
// frozen.
func (s *Store) Release() batch.Work[Freezing] {
	return settle(stock.Release, "UPDATE stock SET frozen = frozen - ?, sellable = sellable + ? WHERE sku = ?")
}

// settle takes the freezes of payments through event, and books their units.
func settle(event stock.Event, book string) batch.Work[Freezing] {
	t := event.Transition()
	type freeze struct{ order, gid string }
	frozen, lost := map[freeze]map[string]int64{}, map[freeze]string{}
	return batch.Work[Freezing]{
		Read: func(items []*batch.Item[Freezing]) []batch.Statement {
			in, args := tcc.Subjects(items)
			return []batch.Statement{batch.Find("SELECT order_id, gid, sku, quantity, EXISTS (SELECT 1 FROM stock s WHERE s.sku = f.sku)"+
				" FROM stock_freeze f FORCE INDEX (PRIMARY) WHERE order_id IN ("+in+") AND status = ? ORDER BY order_id, sku FOR UPDATE", append(args, string(t.From)),
				func(scan func(...any) error) error {
					var (
						f     freeze
						sku   string
						units int64
						known bool
					)
					err := scan(&f.order, &f.gid, &sku, &units, &known)
					if !known {
						lost[f] = sku
					}
					if frozen[f] == nil {
						frozen[f] = map[string]int64{}
					}
					frozen[f][sku] = units
					return err
				})}
		},
		Write: func(items []*batch.Item[Freezing]) ([]batch.Statement, error) {
			units := map[string]int64{}
			var writes []batch.Statement
			for _, i := range items {
				f := freeze{i.Request.Subject, i.Request.GID}
				lines := frozen[f]
				if len(lines) == 0 {
					i.Refuse(tcc.ErrNotTried)
					continue
				}
				if sku, is := lost[f]; is {
					i.Refuse(fmt.Errorf("stock has no row of %s, of which order %s has frozen units", sku, f.order))
					continue
				}
				delete(frozen, f) // booked once, whatever else calls itself a branch of it
				for sku, n := range lines {
					units[sku] += n
				}
				writes = append(writes, batch.Change(
					"UPDATE stock_freeze FORCE INDEX (PRIMARY) SET status = ? WHERE order_id = ? AND gid = ? AND status = ?",
					string(t.To), i.Request.Subject, i.Request.GID, string(t.From)))
			}
			return append(writes, move(units, book)...), nil
		},
	}
}

// move returns the statements that move units of each product, in the order of their skus.
func move(units map[string]int64, statement string) (all []batch.Statement) {
	for _, sku := range slices.Sorted(maps.Keys(units)) {
		all = append(all, batch.Change(statement, units[sku], units[sku], sku))
	}
	return all
}
