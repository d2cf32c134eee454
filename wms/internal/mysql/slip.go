package mysql

import (
	"github.com/google/uuid"

	"example.com/fourfold/chassis/database/batch"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/wms/internal/delivery"
)

// Drafting is a payment's call of wms: the slip that Try drafts. Confirm and Cancel need none, they find it in the rows.
type Drafting = tcc.Of[delivery.Slip]

// Draft is the Try of payments: it writes their slips as UNKNOWN. It refuses with delivery.ErrClosed while the warehouse is closed.
func (s *Store) Draft() batch.Work[Drafting] {
	open := false
	return batch.Work[Drafting]{
		Read: func([]*batch.Item[Drafting]) []batch.Statement {
			// The shared lock lasts to the end of the transaction: whoever closes the warehouse waits for every Try that read it open.
			return []batch.Statement{batch.Find("SELECT open FROM warehouse WHERE id = 1 LOCK IN SHARE MODE", nil,
				func(scan func(...any) error) error { return scan(&open) })}
		},
		Write: func(items []*batch.Item[Drafting]) ([]batch.Statement, error) {
			var slips, lines batch.Values
			for _, i := range items {
				if !open {
					i.Refuse(delivery.ErrClosed)
					continue
				}
				id, err := uuid.NewV7()
				if err != nil {
					return nil, err
				}
				slip := i.Request.Request
				slips.Add(id.String(), slip.OrderID, i.Request.GID, string(delivery.Draft.Transition().To), slip.Address)
				for _, l := range slip.Lines {
					lines.Add(id.String(), l.SKU, l.Quantity)
				}
			}
			return append(slips.Into("delivery_slip (id, order_id, gid, status, address)"),
				lines.Into("delivery_line (slip_id, sku, quantity)")...), nil
		},
	}
}

// Settle takes the slips of payments through event, Create or Cancel. It refuses with tcc.ErrNotTried where none is drafted.
func (s *Store) Settle(event delivery.Event) func() batch.Work[Drafting] {
	t := event.Transition()
	type draft struct{ order, gid string }
	return func() batch.Work[Drafting] {
		drafts := map[draft]bool{}
		return batch.Work[Drafting]{
			Read: func(items []*batch.Item[Drafting]) []batch.Statement {
				in, args := tcc.Subjects(items)
				return []batch.Statement{batch.Find("SELECT order_id, gid FROM delivery_slip FORCE INDEX (uniq_order) WHERE order_id IN ("+in+
					") AND status = ? ORDER BY order_id FOR UPDATE", append(args, string(t.From)), func(scan func(...any) error) error {
					var d draft
					err := scan(&d.order, &d.gid)
					drafts[d] = true
					return err
				})}
			},
			Write: func(items []*batch.Item[Drafting]) (writes []batch.Statement, err error) {
				for _, i := range items {
					d := draft{i.Request.Subject, i.Request.GID}
					if !drafts[d] {
						i.Refuse(tcc.ErrNotTried)
						continue
					}
					delete(drafts, d)
					writes = append(writes, batch.Change(
						"UPDATE delivery_slip FORCE INDEX (uniq_order) SET status = ? WHERE order_id = ? AND gid = ? AND status = ?",
						string(t.To), i.Request.Subject, i.Request.GID, string(t.From)))
				}
				return writes, nil
			},
		}
	}
}
