package tcc

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/loop"
)

//go:embed schema/*.sql
var schema embed.FS

// Tables returns the package's table, beside the barrier, which is among the service's own.
func Tables() database.Part {
	sub, err := fs.Sub(schema, "schema")
	if err != nil {
		panic(err) // the folder is embedded
	}
	return database.Part{Name: "tcc", Migrations: sub}
}

// Missing remembers in the service's database which Confirms and Cancels found no tried row, and alerts operators for as long as there are any:
// one alert, however many transactions it is about.
type Missing struct {
	db     *sql.DB
	alerts *alert.Alerts
}

// NewMissing returns the Missing of a service whose database, with Tables, is db.
func NewMissing(db *sql.DB, alerts *alert.Alerts) *Missing { return &Missing{db: db, alerts: alerts} }

const (
	notTried = "branch-not-tried"
	// lookEvery is the pause between two looks. A phase that passes costs nothing here: look finds out.
	lookEvery = 5 * time.Second
	// forgetAfter is how long after its last call a phase counts as missing. The coordinator repeats it within seconds for as long as it knows
	// the transaction, so this is longer than any outage of it should last.
	forgetAfter = time.Hour
	// named is how many the alert names.
	named = 10
)

// note remembers that phase c of participant found nothing tried. The phase has failed already, so what fails here is only logged.
func (m *Missing) note(ctx context.Context, participant string, c Call) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, err := m.db.ExecContext(ctx, `INSERT INTO branch_not_tried (gid, branch_id, op, participant, subject) VALUES (?, ?, ?, ?, ?)
		ON DUPLICATE KEY UPDATE times = times + 1, last_at = NOW(3)`, c.GID, c.Branch, c.Phase, participant, c.Subject)
	if err != nil {
		slog.WarnContext(ctx, "nobody will be alerted about this phase", "err", err)
	}
}

// Watch is background work: until ctx ends it raises the alert branch-not-tried while a phase finds nothing tried, and clears it when all have
// passed. Any number of processes may run it.
func (m *Missing) Watch(ctx context.Context) error {
	return loop.Every(lookEvery, time.Minute, "look for phases that find nothing tried", m.look)(ctx)
}

func (m *Missing) look(ctx context.Context) error {
	_, err := m.db.ExecContext(ctx, `DELETE n FROM branch_not_tried n LEFT JOIN barrier b ON b.gid = n.gid AND b.branch_id = n.branch_id
		AND b.op = n.op WHERE b.id IS NOT NULL OR n.last_at < TIMESTAMPADD(SECOND, ?, NOW(3))`, -int(forgetAfter/time.Second))
	if err != nil {
		return err
	}
	lines, count, err := m.oldest(ctx)
	if err != nil {
		return err
	}
	if count == 0 {
		return m.alerts.Clear(ctx, notTried)
	}
	return m.alerts.Raise(ctx, notTried,
		fmt.Sprintf("%d phase(s) of transactions find nothing tried, the oldest: %s", count, lines[0]),
		fmt.Sprintf("The Try's row is lost, or the call is forged. Nothing was changed, and the coordinator repeats the call until a person decides.\n"+
			"There are %d, the oldest:\n  %s\n", count, strings.Join(lines, "\n  ")))
}

// oldest returns a line for each of the oldest ones, and how many there are in all.
func (m *Missing) oldest(ctx context.Context) (lines []string, count int, err error) {
	rows, err := m.db.QueryContext(ctx, `SELECT op, participant, subject, gid, times, first_at, COUNT(*) OVER () FROM branch_not_tried
		ORDER BY first_at, gid LIMIT ?`, named)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var (
			op, participant, subject, gid string
			times                         int
			since                         time.Time
		)
		if err := rows.Scan(&op, &participant, &subject, &gid, &times, &since, &count); err != nil {
			return nil, 0, err
		}
		lines = append(lines, fmt.Sprintf("%s of %s, about %q, transaction %s: %d time(s) since %s", op, participant, subject, gid, times,
			since.UTC().Format(time.RFC3339)))
	}
	return lines, count, rows.Err()
}
