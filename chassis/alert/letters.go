package alert

import (
	"context"
	"fmt"
	"strings"
	"time"
)

const (
	deadLetters = "dead-letters/"
	// mostLetters is how many letters an alert lists.
	mostLetters = 10
)

// lookAtDeadLetters raises an alert for each group that has dead letters. It lists those that failed: the others wait for an earlier event of
// their subject, which is often one of these, and go on by themselves after it.
func (a *Alerts) lookAtDeadLetters(ctx context.Context) error {
	heaps, err := a.heaps(ctx)
	if err != nil {
		return err
	}
	for _, h := range heaps {
		letters, err := a.letters(ctx, h)
		if err != nil {
			return err
		}
		if len(letters) == 0 {
			continue // redriven meanwhile
		}
		if err := a.Raise(ctx, deadLetters+h.group, h.summary(letters[0]), h.detail(a.service, letters)); err != nil {
			return err
		}
	}
	// One statement, so that a group whose letters died since the query above keeps its alert. A group's name has at most 64 bytes, so the
	// alert's name holds all of it.
	_, err = a.db.ExecContext(ctx, `UPDATE alert SET cleared_at = NOW(3) WHERE name LIKE ? AND cleared_at IS NULL
		AND NOT EXISTS (SELECT 1 FROM mq_inbox WHERE state = 'DEAD' AND grp = SUBSTRING(alert.name, ?))`, deadLetters+"%", len(deadLetters)+1)
	return err
}

// heap is how many dead letters a group has, and how many of them failed.
type heap struct {
	group         string
	count, failed int64
}

// failed is the condition for a letter that failed, and does not only wait.
const failed = "(tries > 0 OR type = '?')"

// heaps returns the groups that have dead letters.
func (a *Alerts) heaps(ctx context.Context) ([]heap, error) {
	rows, err := a.db.QueryContext(ctx, `SELECT grp, COUNT(*), COALESCE(SUM(`+failed+`), 0) FROM mq_inbox WHERE state = 'DEAD' GROUP BY grp`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var all []heap
	for rows.Next() {
		var h heap
		if err := rows.Scan(&h.group, &h.count, &h.failed); err != nil {
			return nil, err
		}
		all = append(all, h)
	}
	return all, rows.Err()
}

// letter is a dead letter as an alert shows it.
type letter struct {
	id, seq              int64
	typ, subject, reason string
	at                   time.Time
}

// letters returns the oldest letters of h: those that failed, or, when none has, those that wait.
func (a *Alerts) letters(ctx context.Context, h heap) ([]letter, error) {
	rows, err := a.db.QueryContext(ctx, `SELECT id, seq, type, subject, last_error, created_at FROM mq_inbox
		WHERE state = 'DEAD' AND grp = ? AND (`+failed+` OR ?) ORDER BY id LIMIT ?`, h.group, h.failed == 0, mostLetters)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var all []letter
	for rows.Next() {
		var l letter
		if err := rows.Scan(&l.id, &l.seq, &l.typ, &l.subject, &l.reason, &l.at); err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, rows.Err()
}

func (h heap) summary(first letter) string {
	if h.failed == 0 {
		return fmt.Sprintf("%d event(s) of group %s wait for earlier ones that have not come", h.count, h.group)
	}
	return fmt.Sprintf("%d event(s) of group %s were given up: %s", h.failed, h.group, firstLine(first.reason))
}

func (h heap) detail(service string, letters []letter) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Consumer group %s of service %s has %d dead letter(s).\n", h.group, service, h.count)
	if h.failed == 0 {
		b.WriteString("None failed. Each waits for an earlier event of its subject, and has its effect by itself when that comes:\n")
	} else {
		fmt.Fprintf(&b, "%d failed; the others wait for an earlier event of their subject and go on by themselves after it. Failed:\n", h.failed)
	}
	for _, l := range letters {
		fmt.Fprintf(&b, "  %s-%d  %s of %q, number %d, came %s: %s\n", service, l.id, l.typ, l.subject, l.seq, l.at.Format(time.RFC3339), l.reason)
	}
	first := letters[0]
	if h.failed == 0 {
		fmt.Fprintf(&b, `What became of the one before: GET  /v1/ops/messages?subject=%[1]s
If it will never come, go on without: POST /v1/ops/dead-letters/%[2]s-%[3]d/redrive
`, first.subject, service, first.id)
		return b.String()
	}
	fmt.Fprintf(&b, `All of them:             GET  /v1/ops/dead-letters?group=%[1]s
One with its history:    GET  /v1/ops/dead-letters/%[2]s-%[3]d
When the cause is gone, try all again:
                         POST /v1/ops/dead-letters/redrive  {"group": "%[1]s"}
or only one:             POST /v1/ops/dead-letters/%[2]s-%[3]d/redrive
Do without its effect:   POST /v1/ops/dead-letters/%[2]s-%[3]d/discard
`, h.group, service, first.id)
	return b.String()
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
