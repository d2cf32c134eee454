package mysql

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/batch"
	"example.com/fourfold/order/internal/order"
)

// opening is a call that wants to open an attempt, and what comes of it.
type opening struct {
	kind              order.Kind
	id, memberID, gid string

	order           order.Order
	opened, expired bool
}

// openWithin bounds the opening of an attempt. One that may be open after that is given up by the sweeper.
const openWithin = 3 * time.Second

// OpenAttempt records that gid is about to pay or refund a member's order, and returns the order and whether the attempt was opened. It is not
// when the order's status does not allow it or another attempt is open. An order to be paid that has expired is closed instead. It returns
// order.ErrNotFound when the member has no such order. It goes on for a while when ctx ends: else the attempt could be open, and nobody know.
func (s *Store) OpenAttempt(ctx context.Context, kind order.Kind, memberID, id, gid string) (o order.Order, opened bool, err error) {
	r := &opening{kind: kind, id: id, memberID: memberID, gid: gid}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), openWithin)
	defer cancel()
	err = s.opens.Do(within, r)
	if err == nil && r.expired {
		err = s.closeExpired(ctx, id)
	}
	if err != nil {
		return order.Order{}, false, err
	}
	return r.order, r.opened, nil
}

// closeExpired closes an order that is to be paid and whose time is over, unless an attempt was opened in time.
func (s *Store) closeExpired(ctx context.Context, id string) error {
	return database.InTx(ctx, s.db, func(tx *sql.Tx) error {
		q := s.q.WithTx(tx)
		o, err := q.LockOrder(ctx, id)
		if err != nil || !o.Expired || order.Status(o.Status) != order.Close.Transition().From {
			return err
		}
		busy, err := q.HasOpenAttempt(ctx, sql.NullString{String: id, Valid: true})
		if err != nil || busy {
			return err
		}
		if _, err := s.closeOrder(ctx, tx, o.MemberID, id, order.Expired); err != nil {
			return err
		}
		return s.disarm(ctx, tx, id)
	})
}

// openings is the work of OpenAttempt.
func openings() batch.Work[*opening] {
	type state struct {
		order.Order
		expired bool
		// last is the number of the last attempt, and open the gid of the one that is open.
		last int
		open string
	}
	orders := map[string]*state{}
	return batch.Work[*opening]{
		Read: func(items []*batch.Item[*opening]) []batch.Statement {
			var all []string
			for _, i := range items {
				all = append(all, i.Request.id)
			}
			slices.Sort(all)
			in, ids := database.In(all)
			return []batch.Statement{
				batch.Find("SELECT "+orderColumns+", expires_at <= NOW(3) FROM orders FORCE INDEX (PRIMARY) WHERE id IN ("+in+
					") ORDER BY id FOR UPDATE", ids, func(scan func(...any) error) (err error) {
					o := &state{}
					o.Order, err = scanOrder(scan, &o.expired)
					orders[o.ID] = o
					return err
				}),
				batch.Find("SELECT order_id, MAX(no), COALESCE(MAX(IF(open_order IS NULL, NULL, gid)), '') FROM payment_attempt WHERE order_id IN ("+in+") GROUP BY order_id", ids,
					func(scan func(...any) error) error {
						var id string
						var last int
						var open string
						err := scan(&id, &last, &open)
						if o := orders[id]; o != nil {
							o.last, o.open = last, open
						}
						return err
					}),
				findLines(in, ids, func(id string, l order.Line) {
					if o := orders[id]; o != nil {
						o.Lines = append(o.Lines, l)
					}
				}),
			}
		},
		Write: func(items []*batch.Item[*opening]) ([]batch.Statement, error) {
			var attempts batch.Values
			for _, i := range items {
				r := i.Request
				r.opened, r.expired = false, false // by a batch that failed
				o := orders[r.id]
				if o == nil || o.MemberID != r.memberID {
					i.Refuse(order.ErrNotFound)
					continue
				}
				r.order = o.Order
				switch {
				case o.open == r.gid: // by a batch whose answer was lost
					r.opened = true
				case o.Status != r.kind.Try().From || o.open != "":
				case r.kind == order.Payment && o.expired:
					r.expired = true
				default:
					o.last++
					o.open, r.opened = r.gid, true
					attempts.Add(o.ID, o.last, r.gid, string(r.kind), string(order.AttemptOpen))
				}
			}
			return attempts.Into("payment_attempt (order_id, no, gid, kind, state)"), nil
		},
	}
}
