package mysql

import (
	"context"
	"database/sql"
	"math"

	"example.com/fourfold/notify/internal/mysql/query"
	"example.com/fourfold/notify/internal/notification"
)

// all is the row of all countries together.
const all = ""

// SpendSMS counts in tx an SMS to country against today's budget, by the database's clock. It reports false when the budget is spent; then it
// counts what is dropped.
func (s *Store) SpendSMS(ctx context.Context, tx *sql.Tx, b notification.Budget, country string) (spent bool, err error) {
	q := s.q.WithTx(tx)
	spend := func(row string, budget int) (bool, error) {
		if err := q.BeginSMSDay(ctx, row); err != nil {
			return false, err
		}
		if budget <= 0 {
			budget = math.MaxInt32
		}
		n, err := q.SpendSMS(ctx, query.SpendSMSParams{Country: row, Budget: int32(budget)})
		return n > 0, err
	}
	if spent, err = spend(all, b.PerDay); err != nil || !spent {
		if err == nil {
			err = q.DropSMS(ctx, all)
		}
		return false, err
	}
	if spent, err = spend(country, b.Of(country)); err != nil || spent {
		return spent, err
	}
	if err := q.UnspendSMS(ctx, all); err != nil {
		return false, err
	}
	return false, q.DropSMS(ctx, country)
}

// Spent is what became of SMS to a country's numbers, or to all.
type Spent struct {
	Country        string
	Spent, Dropped int
}

// SpentToday returns what was spent today, that of all first.
func (s *Store) SpentToday(ctx context.Context) (list []Spent, err error) {
	rows, err := s.q.ListSMSSpent(ctx)
	for _, r := range rows {
		list = append(list, Spent{r.Country, int(r.Spent), int(r.Dropped)})
	}
	return list, err
}
