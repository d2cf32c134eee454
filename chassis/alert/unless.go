package alert

import (
	"context"
	"fmt"
	"strings"
)

// atOnce is how many alerts ClearUnless clears in one call.
const atOnce = 1000

// ClearUnless ends the alerts whose keys begin with prefix, except those that last: lasts is a condition in SQL over the service's own tables,
// in which {key} stands for what follows the prefix. It is one statement, however many last, and waits for no lock; one more when some are over.
// What is over must stay so: an alert that is raised again in between may be ended with the one before. Keys have at most 100 bytes.
func (a *Alerts) ClearUnless(ctx context.Context, prefix, lasts string) error {
	key := fmt.Sprintf("SUBSTRING(alert.name, %d)", len(prefix)+1)
	rows, err := a.db.QueryContext(ctx, `SELECT name FROM alert WHERE cleared_at IS NULL AND LEFT(name, ?) = ?
		AND NOT (`+strings.ReplaceAll(lasts, "{key}", key)+`) LIMIT ?`, len(prefix), prefix, atOnce)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	var over []any
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		over = append(over, name)
	}
	if err := rows.Err(); err != nil || len(over) == 0 {
		return err
	}
	_, err = a.db.ExecContext(ctx, `UPDATE alert SET cleared_at = NOW(3) WHERE cleared_at IS NULL
		AND name IN (?`+strings.Repeat(", ?", len(over)-1)+`)`, over...)
	return err
}
