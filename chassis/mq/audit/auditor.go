package audit

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/durationpb"

	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/loop"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mq"
)

// Times are the times of an audit. Zero values mean the defaults.
type Times struct {
	// Every is how often a group is compared with a publisher. Default 30 s.
	Every time.Duration `yaml:"every"`
	// After is how long an event has been with the broker before it counts as missing. Default 2 min.
	After time.Duration `yaml:"after"`
}

const (
	// reach is how far back is compared: a day less than the rows are kept, so that none is being deleted.
	reach = mq.MinKeep - 24*time.Hour
	// overlap is how far before the last comparison the next one begins.
	overlap = 10 * time.Minute
	// part is how much of all that is kept is compared once more at a time. That finds what a group lost that was restored from a backup.
	part = time.Hour
	// stale is how long a comparison may be due until operators are told that there is none.
	stale = 15 * time.Minute
)

// Alerts tell operators; *alert.Alerts is one.
type Alerts interface {
	Raise(ctx context.Context, key, summary, detail string) error
	Clear(ctx context.Context, key string) error
}

// Auditor compares what publishers sent with what the groups of this process received.
type Auditor struct {
	db         *sql.DB
	bus        *mq.Bus
	keys       mac.Keys
	publishers map[string]mqv1.SentClient
	alerts     Alerts
	times      Times
}

// New returns the auditor of the groups that bus consumes into db, against publishers, by the names of their services.
func New(db *sql.DB, bus *mq.Bus, keys mac.Keys, publishers map[string]mqv1.SentClient, alerts Alerts, times Times) *Auditor {
	if times.Every <= 0 {
		times.Every = 30 * time.Second
	}
	if times.After <= 0 {
		times.After = 2 * time.Minute
	}
	return &Auditor{db, bus, keys, publishers, alerts, times}
}

// Run compares until ctx ends; several processes may run it.
func (a *Auditor) Run(ctx context.Context) error {
	return loop.Every(a.times.Every, time.Minute, "audit what was received", a.look)(ctx)
}

// look compares each group with each publisher, if it is their turn and the group's consumer has had the time to receive what lies there.
func (a *Auditor) look(ctx context.Context) error {
	var failed error
	for _, c := range a.bus.Consumed() {
		for _, publisher := range slices.Sorted(maps.Keys(a.publishers)) {
			l := ledger{a, c.Subscription, publisher}
			err := l.open(ctx)
			if err == nil && time.Since(c.Since) >= a.times.After {
				err = l.audit(ctx)
			}
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s of %s: %w", c.Group, publisher, err))
			}
		}
	}
	return failed
}

// ledger is what one group has received of one publisher.
type ledger struct {
	*Auditor
	of        mq.Subscription
	publisher string
}

// open makes the ledger's row. A group that wants something else than before begins anew: what it did not want then is not missing.
func (l ledger) open(ctx context.Context) error {
	sum := sha256.Sum256([]byte(strings.Join(append(slices.Sorted(slices.Values(l.of.Types)), l.of.Topic, l.of.Filter), "\x00")))
	_, err := l.db.ExecContext(ctx, `INSERT INTO mq_audit (grp, publisher, topic, wanted) VALUES (?, ?, ?, ?) ON DUPLICATE KEY UPDATE
		topic = VALUES(topic), wanted_at = IF(wanted = VALUES(wanted), wanted_at, NOW(3)), wanted = VALUES(wanted)`,
		l.of.Group, l.publisher, l.of.Topic, hex.EncodeToString(sum[:]))
	return err
}

// audit compares what was sent lately, and then an hour of all that is kept.
func (l ledger) audit(ctx context.Context) error {
	t, err := l.turn(ctx)
	if err != nil || !t.mine {
		return err
	}
	late, err := l.late(ctx, t.now)
	if err != nil || late {
		return err // the group works off what has waited for it
	}
	r := report{turn: t}
	r.events, r.missing, err = l.compare(ctx, idAt(t.recent), "")
	if r.complete = err == nil && r.missing == 0; r.complete {
		var kept int
		_, kept, err = l.compare(ctx, idAt(t.from), idAt(t.to))
		r.missing, r.reviewed = kept, err == nil && kept == 0
	}
	return errors.Join(err, l.note(ctx, r, err))
}

// turn is what an instance compares in its turn: what was sent since recent, and what was sent between from and to.
type turn struct {
	mine             bool
	recent, from, to time.Time
	now              time.Time
}

// turn takes the turn, if no other instance has it.
func (l ledger) turn(ctx context.Context) (t turn, err error) {
	err = database.InTx(ctx, l.db, func(tx *sql.Tx) error {
		var (
			complete, reviewed sql.NullTime
			wanted             time.Time
		)
		if err := tx.QueryRowContext(ctx, `SELECT next_at <= NOW(3), complete_at, reviewed_to, wanted_at, NOW(3) FROM mq_audit
			WHERE grp = ? AND publisher = ? FOR UPDATE`, l.of.Group, l.publisher).Scan(&t.mine, &complete, &reviewed, &wanted, &t.now); err != nil ||
			!t.mine {
			return err
		}
		oldest := latest(t.now.Add(-reach), wanted)
		t.recent = oldest
		if complete.Valid {
			t.recent = latest(oldest, complete.Time.Add(-l.times.After-overlap))
		}
		if t.from = latest(oldest, reviewed.Time); t.now.Sub(t.from) < overlap {
			t.from = oldest
		}
		if t.to = t.from.Add(part); t.to.After(t.now) {
			t.to = t.now
		}
		// A little less than Every: the next look is not to find itself too early.
		_, err := tx.ExecContext(ctx, `UPDATE mq_audit SET next_at = TIMESTAMPADD(MICROSECOND, ?, NOW(3)) WHERE grp = ? AND publisher = ?`,
			l.times.Every.Microseconds()*9/10, l.of.Group, l.publisher)
		return err
	})
	return t, err
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// late reports whether the group, in whichever process, has received within the last minute what was sent long before: then what is missing may
// lie in the same queue.
func (l ledger) late(ctx context.Context, now time.Time) (late bool, err error) {
	pause := min(time.Minute, l.times.After)
	err = l.db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM mq_inbox WHERE closed_at > ? AND created_at > ? AND grp = ? AND event_id < ?)`,
		now.Add(-pause), now.Add(-pause), l.of.Group, idAt(now.Add(-l.times.After))).Scan(&late)
	return late, err
}

// compare returns how many events with ids from from on and before to (all when empty) the publisher has sent, and how many are not here. Those
// are sent again, unless they are on their way.
func (l ledger) compare(ctx context.Context, from, to string) (events int64, missing int, err error) {
	sent := l.publishers[l.publisher]
	wanted := &mqv1.Wanted{CallId: uuid.NewString(), Topic: l.of.Topic, Types: l.of.Types, Filter: l.of.Filter, From: from, To: to,
		Settled: durationpb.New(l.times.After)}
	req := &mqv1.SumSentRequest{Wanted: wanted}
	theirs, err := sent.SumSent(l.keys.Call(ctx, mqv1.Sent_SumSent_FullMethodName, req), req)
	if err != nil {
		return 0, 0, err
	}
	// Read after theirs: what they count has had the time to come.
	ours, err := sumsOf(ctx, l.db, "mq_inbox FORCE INDEX (event)", "event_id >= ? AND (? = '' OR event_id < ?) AND grp = ? AND (source = ? OR source LIKE ?)",
		from, to, to, l.of.Group, "/"+l.publisher, "/"+l.publisher+"/%")
	if err != nil {
		return 0, 0, err
	}
	for _, s := range theirs.GetSums() {
		events += s.GetCount()
		if ours[s.GetPrefix()] == (sum{s.GetCount(), s.GetHash()}) {
			continue
		}
		n, err := l.window(ctx, wanted, s.GetPrefix())
		if err != nil {
			return 0, 0, err
		}
		missing += n
	}
	return events, missing, nil
}

// window returns how many events of a window are not here, and has them sent again.
func (l ledger) window(ctx context.Context, wanted *mqv1.Wanted, prefix string) (missing int, err error) {
	req := &mqv1.ListSentRequest{Wanted: wanted, Prefix: prefix}
	for more := true; more; {
		page, err := l.publishers[l.publisher].ListSent(l.keys.Call(ctx, mqv1.Sent_ListSent_FullMethodName, req), req)
		if err != nil {
			return 0, err
		}
		absent, err := l.absent(ctx, page.GetIds())
		if err == nil && len(absent) > 0 {
			err = l.sendAgain(ctx, absent)
		}
		if err != nil {
			return 0, err
		}
		missing += len(absent)
		req.After, more = page.GetNext(), page.GetMore()
	}
	return missing, nil
}

// absent returns those of ids that have no row in the group's inbox.
func (l ledger) absent(ctx context.Context, ids []string) ([]string, error) {
	in, args := database.In(ids)
	rows, err := l.db.QueryContext(ctx, "SELECT event_id FROM mq_inbox WHERE grp = ? AND event_id IN ("+in+")", append([]any{l.of.Group}, args...)...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	here := map[string]bool{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		here[id] = true
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return here[id] }), rows.Err()
}

func (l ledger) sendAgain(ctx context.Context, ids []string) error {
	req := &mqv1.SendAgainRequest{CallId: uuid.NewString(), Ids: ids, Settled: durationpb.New(l.times.After)}
	reply, err := l.publishers[l.publisher].SendAgain(l.keys.Call(ctx, mqv1.Sent_SendAgain_FullMethodName, req), req)
	if err != nil || reply.GetEvents() == 0 {
		return err
	}
	slog.WarnContext(ctx, "events were sent and have not come; they are sent again", "group", l.of.Group, "publisher", l.publisher,
		"events", reply.GetEvents(), "first", ids[0])
	_, err = l.db.ExecContext(ctx, "UPDATE mq_audit SET resent = resent + ?, resent_at = NOW(3) WHERE grp = ? AND publisher = ?",
		reply.GetEvents(), l.of.Group, l.publisher)
	return err
}
