// Package alert tells operators what a person must look at: once, and then again at growing pauses for as long as it lasts.
//
//	           Raise                     Raise, the pause over
//	(none) ------------> told once ----------------------------> told again, the pause grows
//	   ^                    |                                        |
//	   +------- Clear ------+------------------- Clear --------------+
//
// Nobody is told of a Clear. What is there and gone in turns is told both ways: Of.
//
// Each telling is an event in alert-events, appended in the transaction that records it, so several instances that raise the same alert make one
// event in all; and a log line ALARM of the instance that made it.
package alert

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	alertv1 "example.com/fourfold/api/alert/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/mq"
)

//go:embed schema/*.sql
var schema embed.FS

// Tables returns the package's tables. It needs mq.Tables() too.
func Tables() database.Part {
	sub, err := fs.Sub(schema, "schema")
	if err != nil {
		panic(err) // the folder is embedded
	}
	return database.Part{Name: "alert", Migrations: sub}
}

// Retentions returns the rule that deletes alerts cleared longer ago than keep, 0 for never.
func Retentions(keep time.Duration) []database.Retention {
	return []database.Retention{{Table: "alert", Column: "cleared_at", Keep: keep}}
}

// Alerts are the alerts of one service.
type Alerts struct {
	outbox  *mq.Outbox
	db      *sql.DB
	service string
	// Pauses lie between one telling and the next; the last one repeats: 5 min, 15 min, 1 h, 4 h, 24 h. Set them before the first use.
	Pauses []time.Duration
}

// New returns the alerts of service. db holds the tables of this package and of mq; outbox uses the same database, and its relay sends.
func New(outbox *mq.Outbox, db *sql.DB, service string) *Alerts {
	return &Alerts{outbox: outbox, db: db, service: service,
		Pauses: []time.Duration{5 * time.Minute, 15 * time.Minute, time.Hour, 4 * time.Hour, 24 * time.Hour}}
}

const (
	maxKey    = 100 // "<service>/<key>" is an event's subject
	maxText   = 1000
	maxDetail = 20000
)

// runbook is the page that has a section for every key: what it means, what to look at, what to decide and do, and when it is over. The heading
// is the key, up to its first slash.
const runbook = "docs/runbook.md"

// section returns where the runbook has key.
func section(key string) string {
	heading, _, _ := strings.Cut(key, "/")
	return runbook + "#" + heading
}

// Raise tells operators about key, unless they were told before and the pause is not over yet by the database's clock. key says what the alert
// is about and stays the same while it lasts: payment/<gid>. summary is one line, detail says what to look at or to do; both are cut to a
// length.
//
// Raise is cheap while the pause lasts, so a periodic check may call it every time. Any error means that nobody was told this time.
func (a *Alerts) Raise(ctx context.Context, key, summary, detail string) error {
	return a.raise(ctx, key, 0, summary, detail)
}

// raise is Raise about one occurrence, 0 for whichever: one that is over is not raised again.
func (a *Alerts) raise(ctx context.Context, key string, occurrence int64, summary, detail string) error {
	name := short(key)
	var due bool
	// Most calls end after this query.
	err := a.db.QueryRowContext(ctx, `SELECT cleared_at IS NOT NULL OR next_at <= NOW(3) FROM alert WHERE name = ?`, name).Scan(&due)
	switch {
	case err == nil && !due:
		return nil
	case err != nil && !errors.Is(err, sql.ErrNoRows):
		return err
	}
	told := 0
	err = a.outbox.InTx(ctx, func(tx *sql.Tx) error {
		told = 0
		if _, err := tx.ExecContext(ctx, `INSERT INTO alert (name) VALUES (?) ON DUPLICATE KEY UPDATE name = name`, name); err != nil {
			return err
		}
		var (
			times            int
			since, now       time.Time
			cleared, waiting bool
			last             int64
		)
		if err := tx.QueryRowContext(ctx,
			`SELECT times, since, NOW(3), cleared_at IS NOT NULL, next_at > NOW(3), occurrence FROM alert WHERE name = ? FOR UPDATE`,
			name).Scan(&times, &since, &now, &cleared, &waiting, &last); err != nil {
			return err
		}
		switch {
		case cleared && occurrence != 0 && occurrence == last:
			return nil // another instance has told of it and of its end
		case cleared:
			times, since = 0, now
		case waiting:
			return nil // another instance was quicker
		}
		times++
		if _, err := tx.ExecContext(ctx,
			`UPDATE alert SET times = ?, since = ?, cleared_at = NULL, next_at = TIMESTAMPADD(MICROSECOND, ?, NOW(3)), occurrence = ?
			WHERE name = ?`, times, since, a.pause(times).Microseconds(), occurrence, name); err != nil {
			return err
		}
		told = times
		return a.append(ctx, tx, now, &alertv1.Raised{Key: key, Summary: summary, Detail: detail, Times: int32(times),
			Since: timestamppb.New(since)})
	})
	if err == nil && told > 0 {
		slog.ErrorContext(ctx, "ALARM: "+summary, "alert", key, "times", told, "detail", detail)
	}
	return err
}

// append appends the event that tells r. Its texts are cut to their lengths.
func (a *Alerts) append(ctx context.Context, tx *sql.Tx, now time.Time, r *alertv1.Raised) error {
	name := short(r.GetKey())
	r.Service, r.Key, r.Summary = a.service, cut(r.GetKey(), maxText), cut(r.GetSummary(), maxText)
	r.Detail = cut(r.GetDetail(), maxDetail) + "What to do:  " + section(r.GetKey()) + "\n"
	data, err := mq.Data(r)
	if err != nil {
		return err
	}
	return a.outbox.Append(ctx, tx, alertv1.Topic, mq.Event{Type: alertv1.TypeRaised, Subject: a.service + "/" + name, Time: now, Data: data})
}

// Clear ends the alert key: the next Raise tells again at once. It may be called at any time, also when key was never raised.
func (a *Alerts) Clear(ctx context.Context, key string) error {
	_, err := a.db.ExecContext(ctx, `UPDATE alert SET cleared_at = NOW(3) WHERE name = ? AND cleared_at IS NULL`, short(key))
	return err
}

// pause returns how long to wait after the nth telling.
func (a *Alerts) pause(times int) time.Duration {
	if len(a.Pauses) == 0 {
		return 24 * time.Hour
	}
	return a.Pauses[min(times, len(a.Pauses))-1]
}

// short returns key, or a shorter name for one that is too long for the table.
func short(key string) string {
	if len(key) <= maxKey {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return fmt.Sprintf("%s~%s", cut(key, maxKey-17), hex.EncodeToString(sum[:8]))
}

// cut returns at most the first n bytes of text, without what is not valid UTF-8: a proto can carry nothing else.
func cut(text string, n int) string {
	if len(text) > n {
		text = text[:n]
	}
	return strings.ToValidUTF8(text, "")
}
