package audit

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// sum is the events of a window: how many, and the XOR of the first 8 bytes of the SHA-256 of each id.
type sum struct {
	count int64
	hash  uint64
}

// sums are by window: the first windowDigits digits of the ids, which are UUIDs of version 7 and begin with the milliseconds. Ids of another
// kind are in windows too.
type sums map[string]sum

// windowDigits makes windows of 2^16 ms, a minute and six seconds.
const windowDigits = 8

// idAt returns the least id of an event that was made at t.
func idAt(t time.Time) string {
	ms := max(t.UnixMilli(), 0)
	return fmt.Sprintf("%08x-%04x", ms>>16, ms&0xffff)
}

// sumsOf adds up the rows of table that where selects.
func sumsOf(ctx context.Context, db *sql.DB, table, where string, args ...any) (sums, error) {
	rows, err := db.QueryContext(ctx, `SELECT LEFT(event_id, ?) AS w, COUNT(*),
		BIT_XOR(CAST(CONV(LEFT(SHA2(event_id, 256), 16), 16, 10) AS UNSIGNED)) FROM `+table+` WHERE `+where+` GROUP BY w`,
		append([]any{windowDigits}, args...)...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	all := sums{}
	for rows.Next() {
		var (
			window string
			s      sum
		)
		if err := rows.Scan(&window, &s.count, &s.hash); err != nil {
			return nil, err
		}
		all[window] = s
	}
	return all, rows.Err()
}
