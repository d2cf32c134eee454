package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
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
	// whole is how often all that both sides keep is compared, and not only what was sent since the last time. It finds what a group lost that
	// was restored from a backup.
	whole = time.Hour
	// reach is how far back that goes: a day less than the rows are kept, so that none is being deleted.
	reach = mq.MinKeep - 24*time.Hour
	// overlap is how far before the last comparison the next one begins.
	overlap = 10 * time.Minute
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
		if time.Since(c.Since) < a.times.After {
			continue
		}
		for _, publisher := range slices.Sorted(maps.Keys(a.publishers)) {
			l := ledger{a, c.Subscription, publisher}
			if err := l.audit(ctx); err != nil {
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

func (l ledger) audit(ctx context.Context) error {
	from, mine, err := l.turn(ctx)
	if err != nil || !mine {
		return err
	}
	late, err := l.late(ctx)
	if err != nil || late {
		return err // the group works off what has waited for it
	}
	began := time.Now()
	events, missing, err := l.compare(ctx, from)
	if err == nil && len(missing) > 0 {
		err = l.sendAgain(ctx, missing)
	}
	return errors.Join(err, l.note(ctx, began, from, events, len(missing), err))
}

// turn takes the turn to compare, if no other instance has it, and returns from which id on.
func (l ledger) turn(ctx context.Context) (from string, mine bool, err error) {
	var since time.Time
	err = database.InTx(ctx, l.db, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO mq_audit (grp, publisher, topic) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE topic = topic`,
			l.of.Group, l.publisher, l.of.Topic); err != nil {
			return err
		}
		var complete sql.NullTime
		var all bool
		var now time.Time
		if err := tx.QueryRowContext(ctx, `SELECT next_at <= NOW(3), complete_at, COALESCE(whole_at, '2000-01-01') < TIMESTAMPADD(SECOND, -?, NOW(3)),
			NOW(3) FROM mq_audit WHERE grp = ? AND publisher = ? FOR UPDATE`, int(whole.Seconds()), l.of.Group, l.publisher).Scan(
			&mine, &complete, &all, &now); err != nil || !mine {
			return err
		}
		since = complete.Time.Add(-l.times.After - overlap)
		if all || !complete.Valid || since.Before(now.Add(-reach)) {
			since = now.Add(-reach)
		}
		// A little less than Every: the next look is not to find itself too early.
		_, err := tx.ExecContext(ctx, `UPDATE mq_audit SET next_at = TIMESTAMPADD(MICROSECOND, ?, NOW(3)), topic = ? WHERE grp = ? AND publisher = ?`,
			l.times.Every.Microseconds()*9/10, l.of.Topic, l.of.Group, l.publisher)
		return err
	})
	return idAt(since), mine, err
}

// late reports whether the group, in whichever process, has received within the last minute what was sent long before: then what is missing may
// lie in the same queue.
func (l ledger) late(ctx context.Context) (late bool, err error) {
	var now time.Time
	if err := l.db.QueryRowContext(ctx, "SELECT NOW(3)").Scan(&now); err != nil {
		return false, err
	}
	pause := min(time.Minute, l.times.After)
	err = l.db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM mq_inbox WHERE closed_at > ? AND created_at > ? AND grp = ? AND event_id < ?)`,
		now.Add(-pause), now.Add(-pause), l.of.Group, idAt(now.Add(-l.times.After))).Scan(&late)
	return late, err
}

// compare returns how many events the publisher has sent, and the ids of those that are not here.
func (l ledger) compare(ctx context.Context, from string) (events int64, missing []string, err error) {
	sent := l.publishers[l.publisher]
	wanted := &mqv1.Wanted{CallId: uuid.NewString(), Topic: l.of.Topic, Types: l.of.Types, Filter: l.of.Filter, From: from,
		Settled: durationpb.New(l.times.After)}
	req := &mqv1.SumSentRequest{Wanted: wanted}
	theirs, err := sent.SumSent(l.keys.Call(ctx, mqv1.Sent_SumSent_FullMethodName, req), req)
	if err != nil {
		return 0, nil, err
	}
	// Read after theirs: what they count has had the time to come.
	ours, err := sumsOf(ctx, l.db, "mq_inbox FORCE INDEX (event)", "event_id >= ? AND grp = ? AND (source = ? OR source LIKE ?)",
		from, l.of.Group, "/"+l.publisher, "/"+l.publisher+"/%")
	if err != nil {
		return 0, nil, err
	}
	for _, s := range theirs.GetSums() {
		events += s.GetCount()
		if ours[s.GetPrefix()] == (sum{s.GetCount(), s.GetHash()}) {
			continue
		}
		list := &mqv1.ListSentRequest{Wanted: wanted, Prefix: s.GetPrefix()}
		for more := true; more; {
			page, err := sent.ListSent(l.keys.Call(ctx, mqv1.Sent_ListSent_FullMethodName, list), list)
			if err != nil {
				return 0, nil, err
			}
			absent, err := l.absent(ctx, page.GetIds())
			if err != nil {
				return 0, nil, err
			}
			if missing = append(missing, absent...); len(missing) >= mostIDs {
				return events, missing[:mostIDs], nil // the others the next time
			}
			list.After, more = page.GetNext(), page.GetMore()
		}
	}
	return events, missing, nil
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
	req := &mqv1.SendAgainRequest{CallId: uuid.NewString(), Ids: ids}
	reply, err := l.publishers[l.publisher].SendAgain(l.keys.Call(ctx, mqv1.Sent_SendAgain_FullMethodName, req), req)
	if err != nil {
		return err
	}
	slog.WarnContext(ctx, "events were sent and have not come; they are sent again", "group", l.of.Group, "publisher", l.publisher,
		"missing", len(ids), "again", reply.GetEvents(), "first", ids[0])
	return nil
}

// note records how the comparison ended, and tells operators of what was missing until nothing is.
func (l ledger) note(ctx context.Context, began time.Time, from string, events int64, missing int, failed error) error {
	reason := ""
	if failed != nil {
		missing, reason = 0, failed.Error()
	}
	_, err := l.db.ExecContext(ctx, `UPDATE mq_audit SET
		complete_at = IF(?, TIMESTAMPADD(MICROSECOND, -?, NOW(3)), complete_at), whole_at = IF(?, NOW(3), whole_at), events = IF(?, ?, events),
		resent = resent + ?, resent_at = IF(?, NOW(3), resent_at), last_error = LEFT(?, 500) WHERE grp = ? AND publisher = ?`,
		failed == nil && missing == 0, time.Since(began).Microseconds(), failed == nil && missing == 0 && from <= idAt(began.Add(-reach+whole)),
		failed == nil, events, missing, missing > 0, reason, l.of.Group, l.publisher)
	if err != nil || failed != nil {
		return err
	}
	key := "messages-lost/" + l.of.Group + "/" + l.publisher
	if missing == 0 {
		return l.alerts.Clear(ctx, key)
	}
	return l.alerts.Raise(ctx, key, fmt.Sprintf("%d event(s) of %s had not come to group %s and are sent again", missing, l.publisher, l.of.Group),
		fmt.Sprintf(`%[2]s has sent %[1]d event(s) to topic %[4]s more than %[5]s ago, and group %[3]s has not received them. They are being sent again by
themselves and have their effect once. The broker, or the group's place in it, has lost messages: find out why.
How much and since when:  GET  /v1/ops/audits
`, missing, l.publisher, l.of.Group, l.of.Topic, l.times.After))
}
