package mysql

import (
	"context"
	"slices"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/batch"
	"example.com/fourfold/order/internal/mysql/query"
	"example.com/fourfold/order/internal/order"
)

// reading is a call that reads one row, and what it found.
type reading[T any] struct {
	id    string
	value T
	known bool
}

// readings returns by id what is asked for, and the ids as parameters of an IN.
func readings[T any](items []*batch.Item[*reading[T]]) (of map[string][]*reading[T], in string, args []any) {
	of = map[string][]*reading[T]{}
	var ids []string
	for _, i := range items {
		r := i.Request
		of[r.id], ids = append(of[r.id], r), append(ids, r.id)
	}
	slices.Sort(ids)
	in, args = database.In(slices.Compact(ids))
	return of, in, args
}

// State returns where an order stands, or order.ErrNotFound.
func (s *Store) State(ctx context.Context, id string) (State, error) {
	r := &reading[State]{id: id}
	if err := s.states.Do(ctx, r); err != nil {
		return State{}, err
	}
	if !r.known {
		return State{}, order.ErrNotFound
	}
	return r.value, nil
}

func readStates() batch.Work[*reading[State]] {
	return batch.Work[*reading[State]]{Read: func(items []*batch.Item[*reading[State]]) []batch.Statement {
		of, in, args := readings(items)
		return []batch.Statement{batch.Find("SELECT o.id, o.status, o.reason, o.gid, o.expires_at <= NOW(3),"+
			" EXISTS (SELECT 1 FROM payment_attempt a WHERE a.open_order = o.id) FROM orders o WHERE o.id IN ("+in+")", args,
			func(scan func(...any) error) error {
				var id string
				var state State
				err := scan(&id, &state.Status, &state.Reason, &state.GID, &state.Expired, &state.Busy)
				for _, r := range of[id] {
					r.value, r.known = state, true
				}
				return err
			})}
	}}
}

// Order returns a member's order. It returns order.ErrNotFound when the member has no such order.
func (s *Store) Order(ctx context.Context, memberID, id string) (order.Order, error) {
	r := &reading[order.Order]{id: id}
	if err := s.orders.Do(ctx, r); err != nil {
		return order.Order{}, err
	}
	if !r.known || r.value.MemberID != memberID {
		return order.Order{}, order.ErrNotFound
	}
	return r.value, nil
}

func readOrders() batch.Work[*reading[order.Order]] {
	return batch.Work[*reading[order.Order]]{Read: func(items []*batch.Item[*reading[order.Order]]) []batch.Statement {
		of, in, args := readings(items)
		return []batch.Statement{
			batch.Find("SELECT "+orderColumns+" FROM orders WHERE id IN ("+in+")", args, func(scan func(...any) error) error {
				o, err := scanOrder(scan)
				for _, r := range of[o.ID] {
					r.value, r.known = o, true
				}
				return err
			}),
			findLines(in, args, func(id string, l order.Line) {
				for _, r := range of[id] {
					r.value.Lines = append(r.value.Lines, l)
				}
			}),
		}
	}}
}

// orderColumns are what scanOrder reads.
const orderColumns = "id, member_id, status, reason, gid, total_cents, points, address, created_at, expires_at, paid_at, event_seq"

// scanOrder reads an order without its lines, and into more what was selected after orderColumns.
func scanOrder(scan func(...any) error, more ...any) (order.Order, error) {
	var o query.ListOrdersRow
	err := scan(append([]any{&o.ID, &o.MemberID, &o.Status, &o.Reason, &o.Gid, &o.TotalCents, &o.Points, &o.Address, &o.CreatedAt, &o.ExpiresAt,
		&o.PaidAt, &o.EventSeq}, more...)...)
	return domain(o), err
}

// findLines returns the statement that reads the lines of the orders in in, each order's by sku.
func findLines(in string, ids []any, add func(orderID string, l order.Line)) batch.Statement {
	return batch.Find("SELECT order_id, sku, name, price_cents, quantity FROM order_line WHERE order_id IN ("+in+") ORDER BY order_id, sku", ids,
		func(scan func(...any) error) error {
			var id string
			var l order.Line
			err := scan(&id, &l.SKU, &l.Name, &l.PriceCents, &l.Quantity)
			add(id, l)
			return err
		})
}
