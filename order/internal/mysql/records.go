package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"example.com/fourfold/chassis/ledger"
	"example.com/fourfold/order/internal/mysql/query"
	"example.com/fourfold/order/internal/order"
)

const (
	// scanStep is how many orders are read at once.
	scanStep = 20_000
	// scanners read at the same time.
	scanners = 2
	// maxEvents is more events than an order can have.
	maxEvents = 1000
	// behindAll sorts after every id.
	behindAll = "~"
)

// Scan passes every order to visit, in portions. Each portion is read at one moment together with all rows that refer to its orders, and with
// rows that refer to orders that are not there. visit may be called by several goroutines at once.
//
// Orders, lines, attempts and events are walked side by side by the key they have in common: a join in SQL would look up each order's rows one
// by one and take three times as long.
func (s *Store) Scan(ctx context.Context, visit func([]order.Record)) error {
	var c cursor
	group, ctx := errgroup.WithContext(ctx)
	for range scanners {
		group.Go(func() error {
			for {
				records, err := s.portion(ctx, &c)
				if err != nil || records == nil {
					return err
				}
				visit(records)
			}
		})
	}
	return group.Wait()
}

// cursor shares out the orders.
type cursor struct {
	mu    sync.Mutex
	after string
	done  bool
}

// next reads the next orders. They, and all other rows after first and up to last, are the caller's. ok is false at the end.
func (c *cursor) next(ctx context.Context, q *query.Queries) (orders []query.ScanOrdersRow, first, last string, ok bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		return nil, "", "", false, nil
	}
	first = c.after
	orders, err = q.ScanOrders(ctx, query.ScanOrdersParams{After: first, Limit: scanStep})
	if c.done = len(orders) < scanStep; c.done {
		c.after = behindAll
	} else {
		c.after = orders[len(orders)-1].ID
	}
	return orders, first, c.after, true, err
}

// portion reads the next orders and the rows that refer to them, all at one moment. It returns nil at the end.
func (s *Store) portion(ctx context.Context, c *cursor) ([]order.Record, error) {
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }()
	q := s.q.WithTx(tx)
	orders, first, last, ok, err := c.next(ctx, q)
	if err != nil || !ok {
		return nil, err
	}
	lines, err := q.ScanLines(ctx, query.ScanLinesParams{After: first, Last: last})
	if err != nil {
		return nil, err
	}
	attempts, err := q.ScanAttempts(ctx, query.ScanAttemptsParams{After: first, Last: last})
	if err != nil {
		return nil, err
	}
	events, err := tally(ctx, q, orders, first, last)
	if err != nil {
		return nil, err
	}
	return zip(orders, lines, attempts, events), nil
}

// tally returns how many events each order has and the number of its last. There are several times as many events as orders, so the database
// sums up those of a portion, and the rows are read only when the sum is not what the orders say.
func tally(ctx context.Context, q *query.Queries, orders []query.ScanOrdersRow, first, last string) ([]query.ScanEventsRow, error) {
	sum, err := q.SumEvents(ctx, query.SumEventsParams{After: first, Last: last})
	if err != nil {
		return nil, err
	}
	var said query.SumEventsRow
	told := make([]query.ScanEventsRow, len(orders))
	for i, o := range orders {
		for seq := range min(o.EventSeq, maxEvents) {
			said.Numbers ^= int64(crc32.ChecksumIEEE(fmt.Appendf(nil, "%s|%d", o.ID, seq+1)))
		}
		said.Events += o.EventSeq
		told[i] = query.ScanEventsRow{OrderID: o.ID, Events: o.EventSeq, LastSeq: o.EventSeq}
	}
	if sum == said {
		return told, nil
	}
	return q.ScanEvents(ctx, query.ScanEventsParams{After: first, Last: last})
}

// zip makes records of rows that are sorted by their order. The result is never nil.
func zip(orders []query.ScanOrdersRow, lines []query.ScanLinesRow, attempts []query.ScanAttemptsRow,
	events []query.ScanEventsRow) []order.Record {
	records := make([]order.Record, 0, len(orders))
	allLines := make([]order.Line, 0, len(lines))
	allAttempts := make([]order.Attempt, 0, len(attempts))
	for len(orders)+len(lines)+len(attempts)+len(events) > 0 {
		r := order.Record{ID: firstOf(orders, lines, attempts, events)}
		if len(orders) > 0 && orders[0].ID == r.ID {
			o := orders[0]
			r.Status, r.GID, r.Points, r.EventSeq = order.Status(o.Status), o.Gid, o.Points, o.EventSeq
			orders = orders[1:]
		}
		from := len(allLines)
		for ; len(lines) > 0 && lines[0].OrderID == r.ID; lines = lines[1:] {
			allLines = append(allLines, order.Line{SKU: lines[0].Sku, Quantity: lines[0].Quantity})
		}
		r.Lines = since(allLines, from)
		from = len(allAttempts)
		for ; len(attempts) > 0 && attempts[0].OrderID == r.ID; attempts = attempts[1:] {
			a := attempts[0]
			allAttempts = append(allAttempts, order.Attempt{GID: a.Gid, Kind: order.Kind(a.Kind), State: order.AttemptState(a.State)})
		}
		r.Attempts = since(allAttempts, from)
		if len(events) > 0 && events[0].OrderID == r.ID {
			r.Events, r.LastEvent = events[0].Events, events[0].LastSeq
			events = events[1:]
		}
		records = append(records, r)
	}
	return records
}

// since returns what was added to all after the first from elements, nil if nothing was.
func since[T any](all []T, from int) []T {
	if from == len(all) {
		return nil
	}
	return slices.Clip(all[from:])
}

// firstOf returns the smallest id of all.
func firstOf(orders []query.ScanOrdersRow, lines []query.ScanLinesRow, attempts []query.ScanAttemptsRow, events []query.ScanEventsRow) string {
	var heads [4]string
	n := 0
	head := func(id string) {
		heads[n] = id
		n++
	}
	if len(orders) > 0 {
		head(orders[0].ID)
	}
	if len(lines) > 0 {
		head(lines[0].OrderID)
	}
	if len(attempts) > 0 {
		head(attempts[0].OrderID)
	}
	if len(events) > 0 {
		head(events[0].OrderID)
	}
	return slices.Min(heads[:n])
}

// OfBuckets returns the orders of buckets by id, with their age, without attempts and events.
func (s *Store) OfBuckets(ctx context.Context, buckets []int) (map[string]order.Record, error) {
	numbers := make([]int16, len(buckets))
	for i, n := range buckets {
		numbers[i] = int16(n)
	}
	orders, err := s.q.OrdersOfBuckets(ctx, numbers)
	if err != nil {
		return nil, err
	}
	records := make(map[string]order.Record, len(orders))
	for _, o := range orders {
		records[o.ID] = recordOf(query.OrdersOfIDsRow(o))
	}
	lines, err := s.q.LinesOfBuckets(ctx, numbers)
	for _, l := range lines {
		addLine(records, query.LinesOfIDsRow(l))
	}
	return records, err
}

// OfIDs returns the orders among ids that exist, by id, with their age, without attempts and events.
func (s *Store) OfIDs(ctx context.Context, ids []string) (map[string]order.Record, error) {
	orders, err := s.q.OrdersOfIDs(ctx, ids)
	if err != nil {
		return nil, err
	}
	records := make(map[string]order.Record, len(orders))
	for _, o := range orders {
		records[o.ID] = recordOf(o)
	}
	lines, err := s.q.LinesOfIDs(ctx, ids)
	for _, l := range lines {
		addLine(records, l)
	}
	return records, err
}

func recordOf(o query.OrdersOfIDsRow) order.Record {
	return order.Record{
		ID: o.ID, Status: order.Status(o.Status), GID: o.Gid, Points: o.Points, Age: time.Duration(o.AgeSeconds) * time.Second,
	}
}

// addLine ignores lines of orders that were created between the two queries.
func addLine(records map[string]order.Record, l query.LinesOfIDsRow) {
	if r, ok := records[l.OrderID]; ok {
		r.Lines = append(r.Lines, order.Line{SKU: l.Sku, Quantity: l.Quantity})
		records[l.OrderID] = r
	}
}

// Stale returns what a transaction has held or left open for at least open: orders UPDATING or REFUNDING, and attempts OPEN.
func (s *Store) Stale(ctx context.Context, open time.Duration) (orders, attempts ledger.Check, err error) {
	seconds := int64(open / time.Second)
	heldCount, err1 := s.q.CountHeld(ctx)
	openCount, err2 := s.q.CountOpenAttempts(ctx)
	held, err3 := s.q.ListHeld(ctx, query.ListHeldParams{OpenSeconds: seconds, Limit: ledger.MaxViolations})
	left, err4 := s.q.ListOpenAttempts(ctx, query.ListOpenAttemptsParams{OpenSeconds: seconds, Limit: ledger.MaxViolations})
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return ledger.Check{}, ledger.Check{}, err
	}
	orders = ledger.Check{Name: "order: nothing stays UPDATING or REFUNDING", Checked: heldCount}
	for _, o := range held {
		orders.Violate("order %s: %s for %d s", o.ID, o.Status, o.AgeSeconds)
	}
	attempts = ledger.Check{Name: "order: no attempt stays OPEN", Checked: openCount}
	for _, a := range left {
		attempts.Violate("order %s: %s %s OPEN for %d s", a.OrderID, a.Kind, a.Gid, a.AgeSeconds)
	}
	return orders, attempts, nil
}
