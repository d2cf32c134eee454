package mysql

import (
	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/batch"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/order/internal/order"
)

// Holding is a transaction's call of order's own branch. What it is about is in the rows.
type Holding = tcc.Of[struct{}]

// held are the rows that the calls of a batch are about, locked.
type held struct {
	orders map[string]heldOrder
	// open are the open attempts by gid.
	open  map[string]attempt
	lines map[string][]*eventv1.OrderChanged_Line
}

type heldOrder struct {
	status, gid, member string
	cents, points       int64
	seq, base           int64
}

type attempt struct{ order, reason string }

// read returns the statements that lock and read the orders and attempts of items.
func (h *held) read(items []*batch.Item[Holding]) []batch.Statement {
	h.orders, h.open, h.lines = map[string]heldOrder{}, map[string]attempt{}, map[string][]*eventv1.OrderChanged_Line{}
	orders, ids := tcc.Subjects(items)
	var all []string
	for _, i := range items {
		all = append(all, i.Request.GID)
	}
	attempts, gids := database.In(all)
	return []batch.Statement{
		batch.Find("SELECT id, status, gid, member_id, total_cents, points, event_seq, event_base FROM orders FORCE INDEX (PRIMARY) WHERE id IN ("+orders+
			") ORDER BY id FOR UPDATE", ids, func(scan func(...any) error) error {
			var id string
			var o heldOrder
			err := scan(&id, &o.status, &o.gid, &o.member, &o.cents, &o.points, &o.seq, &o.base)
			h.orders[id] = o
			return err
		}),
		batch.Find("SELECT gid, order_id, reason FROM payment_attempt FORCE INDEX (gid) WHERE gid IN ("+attempts+") AND state = ? ORDER BY gid FOR UPDATE",
			append(gids, string(order.AttemptOpen)), func(scan func(...any) error) error {
				var gid string
				var a attempt
				err := scan(&gid, &a.order, &a.reason)
				h.open[gid] = a
				return err
			}),
	}
}

// readWithLines is read, and reads the lines of the orders, for their events.
func (h *held) readWithLines(items []*batch.Item[Holding]) []batch.Statement {
	orders, ids := tcc.Subjects(items)
	return append(h.read(items), findLines(orders, ids, func(id string, l order.Line) {
		h.lines[id] = append(h.lines[id], &eventv1.OrderChanged_Line{Sku: l.SKU, Name: l.Name, PriceCents: l.PriceCents, Quantity: l.Quantity})
	}))
}

// Hold is kind's Try: the transaction holds the order from now on. It refuses with order.ErrState when the order's status does not allow it or the
// attempt is not open.
func (s *Store) Hold(kind order.Kind) func() batch.Work[Holding] {
	t := kind.Try()
	return func() batch.Work[Holding] {
		var h held
		return batch.Work[Holding]{Read: h.read, Write: func(items []*batch.Item[Holding]) (writes []batch.Statement, err error) {
			for _, i := range items {
				id, gid := i.Request.Subject, i.Request.GID
				if h.orders[id].status != string(t.From) || h.open[gid].order != id {
					i.Refuse(order.ErrState)
					continue
				}
				o := h.orders[id]
				o.status = string(t.To)
				h.orders[id] = o
				writes = append(writes, batch.Change("UPDATE orders FORCE INDEX (PRIMARY) SET status = ?, gid = ? WHERE id = ? AND status = ?",
					string(t.To), gid, id, string(t.From)))
			}
			return writes, nil
		}}
	}
}

// Settle is the last phase that event names: it ends the transaction's hold of the order and its attempt, and writes the order's event, if it has
// one. It refuses with tcc.ErrNotTried where the transaction does not hold the order.
func (s *Store) Settle(event order.Event) func() batch.Work[Holding] {
	t := event.Transition()
	return func() batch.Work[Holding] {
		var h held
		return batch.Work[Holding]{Read: h.readWithLines, Write: func(items []*batch.Item[Holding]) (writes []batch.Statement, err error) {
			var log batch.Values
			for _, i := range items {
				id, gid := i.Request.Subject, i.Request.GID
				o, a := h.orders[id], h.open[gid]
				if o.status != string(t.From) || o.gid != gid || a.order != id {
					i.Refuse(tcc.ErrNotTried)
					continue
				}
				o.status = string(t.To)
				h.orders[id] = o // so that nobody else in this batch finds it as it was
				reason, eventType := "", eventOf[event]
				if event == order.CancelPayment {
					if reason = a.reason; reason == "" {
						reason = string(order.PaymentTimeout)
					}
				}
				told := int64(0)
				if eventType != "" {
					told = 1
				}
				writes = append(writes,
					batch.Change("UPDATE orders FORCE INDEX (PRIMARY) SET status = ?, reason = ?, event_seq = event_seq + ?,"+
						" paid_at = IF(? = 'PAID' AND paid_at IS NULL, NOW(3), paid_at) WHERE id = ? AND gid = ? AND status = ?",
						string(t.To), reason, told, string(t.To), id, gid, string(t.From)),
					batch.Change("UPDATE payment_attempt FORCE INDEX (gid) SET state = ? WHERE gid = ? AND state = ?",
						string(order.AttemptDone), gid, string(order.AttemptOpen)))
				if event == order.ConfirmPayment || event == order.CancelPayment {
					writes = append(writes, s.timers.Canceling(expiryID(id)))
				}
				if eventType == "" {
					continue
				}
				e := mq.Event{ID: mq.NewID(), Type: eventType, Subject: id, Sequence: o.seq + 1 - o.base}
				e.Data, err = mq.Data(&eventv1.OrderChanged{OrderId: id, MemberId: o.member, Status: string(t.To), Reason: reason,
					TotalCents: o.cents, Points: o.points, Lines: h.lines[id]})
				if err != nil {
					return nil, err
				}
				entry, err := s.outbox.Entry(i.Context, eventv1.TopicOrders, e)
				if err != nil {
					return nil, err
				}
				writes = append(writes, entry)
				log.Add(e.ID, eventType, id, o.seq+1)
			}
			return append(writes, log.Into("order_event (event_id, event_type, order_id, seq)")...), nil
		}}
	}
}

// eventOf are the events of the last phases. The Cancel of a refund has none: the order is what it was.
var eventOf = map[order.Event]string{
	order.ConfirmPayment: eventv1.TypeOrderPaid,
	order.CancelPayment:  eventv1.TypeOrderCanceled,
	order.ConfirmRefund:  eventv1.TypeOrderRefunded,
}
