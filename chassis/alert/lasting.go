package alert

import "context"

// Lasting returns the keys that begin with prefix and were raised but not cleared, for callers that must check for themselves whether an alert
// is over. Keys that are too long for the table are not among them.
func (a *Alerts) Lasting(ctx context.Context, prefix string) ([]string, error) {
	rows, err := a.db.QueryContext(ctx, `SELECT name FROM alert WHERE cleared_at IS NULL AND LEFT(name, ?) = ? ORDER BY name`,
		len(prefix), prefix)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var keys []string
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, rows.Err()
}
