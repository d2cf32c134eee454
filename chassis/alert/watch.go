package alert

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.com/fourfold/chassis/loop"
)

const (
	watchEvery  = 5 * time.Second
	deadLetters = "dead-letters/"
)

// Watch is background work of a service that consumes: until ctx ends it raises dead-letters/<group> while a group has dead letters, and clears
// it when none is left. Any number of processes may run it.
func (a *Alerts) Watch(ctx context.Context) error {
	return loop.Every(watchEvery, time.Minute, "look for dead letters", a.look)(ctx)
}

func (a *Alerts) look(ctx context.Context) error {
	heaps, err := a.heaps(ctx)
	if err != nil {
		return err
	}
	for _, h := range heaps {
		var (
			reason, typ, subject string
			at                   time.Time
		)
		err := a.db.QueryRowContext(ctx, `SELECT last_error, type, subject, created_at FROM mq_inbox WHERE id = ? AND state = 'DEAD'`,
			h.oldest).Scan(
			&reason, &typ, &subject, &at)
		if errors.Is(err, sql.ErrNoRows) {
			continue // redriven meanwhile
		}
		if err != nil {
			return err
		}
		summary := fmt.Sprintf("%d event(s) of group %s were given up: %s", h.count, h.group, firstLine(reason))
		detail := fmt.Sprintf(`Consumer group %[1]s of service %[2]s has %[3]d dead letter(s).
The oldest came at %[4]s: %[5]s of %[6]q, in row %[2]s-%[7]d. Its last failure:
  %[8]s
Look at them:            GET  /v1/ops/dead-letters?group=%[1]s
at the oldest:           GET  /v1/ops/dead-letters/%[2]s-%[7]d
When the cause is gone, try all again:
                         POST /v1/ops/dead-letters/redrive  {"group": "%[1]s"}
or only the oldest:      POST /v1/ops/dead-letters/%[2]s-%[7]d/redrive
Do without its effect:   POST /v1/ops/dead-letters/%[2]s-%[7]d/discard
`, h.group, a.service, h.count, at.Format(time.RFC3339), typ, subject, h.oldest, reason)
		if err := a.Raise(ctx, deadLetters+h.group, summary, detail); err != nil {
			return err
		}
	}
	// One statement, so that a group whose letters died since the query above keeps its alert. A group's name has at most 64 bytes, so the
	// alert's name holds all of it.
	_, err = a.db.ExecContext(ctx, `UPDATE alert SET cleared_at = NOW(3) WHERE name LIKE ? AND cleared_at IS NULL
		AND NOT EXISTS (SELECT 1 FROM mq_inbox WHERE state = 'DEAD' AND grp = SUBSTRING(alert.name, ?))`, deadLetters+"%", len(deadLetters)+1)
	return err
}

// heap is how many dead letters a group has, and the oldest one's row.
type heap struct {
	group         string
	count, oldest int64
}

// heaps returns the groups that have dead letters. It reads only an index.
func (a *Alerts) heaps(ctx context.Context) ([]heap, error) {
	rows, err := a.db.QueryContext(ctx, `SELECT grp, COUNT(*), MIN(id) FROM mq_inbox WHERE state = 'DEAD' GROUP BY grp`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var all []heap
	for rows.Next() {
		var h heap
		if err := rows.Scan(&h.group, &h.count, &h.oldest); err != nil {
			return nil, err
		}
		all = append(all, h)
	}
	return all, rows.Err()
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
