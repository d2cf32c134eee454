package mq

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"example.com/fourfold/chassis/backoff"
	"example.com/fourfold/chassis/database"
)

// due returns the waiting rows that are due.
func (in *inbox) due(ctx context.Context) ([]int64, error) {
	return database.IDs(ctx, in.db, `SELECT id FROM mq_inbox WHERE grp = ? AND state = 'WAITING' AND next_at <= NOW(3) ORDER BY next_at LIMIT ?`,
		in.s.Group, retryBatch)
}

// retry works on a waiting row once more and records the outcome in the row. When the database is away, the row stays as it is.
func (in *inbox) retry(ctx context.Context, id int64) {
	var (
		text  []byte
		e     Event
		state string
	)
	err := in.db.QueryRowContext(ctx, `SELECT event FROM mq_inbox WHERE id = ? AND state = 'WAITING'`, id).Scan(&text)
	if err == nil {
		if broken := json.Unmarshal(text, &e); broken != nil {
			err = in.giveUp(ctx, id, broken)
			e.ID = ""
		}
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		slog.WarnContext(ctx, "consume: retry", "group", in.s.Group, "row", id, "err", err)
	}
	if err != nil || e.ID == "" {
		return
	}
	ctx, span := in.span(ctx, e)
	defer span.End()
	start := time.Now()
	err = in.inTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT id FROM mq_inbox WHERE id = ? AND state = 'WAITING' FOR UPDATE SKIP LOCKED`, id).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return errTaken
		}
		if err != nil {
			return err
		}
		state = stateDone
		if in.ordered(e) {
			p, err := in.line(e).lock(ctx, tx)
			if err != nil {
				return err
			}
			if state, err = in.turn(ctx, tx, e, p); err != nil {
				return err
			}
		}
		const closes = `UPDATE mq_inbox SET state = ?, event = NULL, next_at = NULL, closed_at = NOW(3) WHERE id = ?`
		switch state {
		case stateWaiting:
			return in.hold(ctx, tx, e)
		case stateDone:
			return in.effect(ctx, tx, e, closes, state, id)
		}
		_, err = tx.ExecContext(ctx, closes, state, id)
		return err
	})
	if _, err := in.settle(ctx, span, start, e, state, err); err != nil {
		slog.WarnContext(ctx, "consume: retry", "group", in.s.Group, "event", e.ID, "err", err)
	}
}

// giveUp makes a waiting row whose event cannot be read a dead letter, so that it does not stand in front of the others for ever.
func (in *inbox) giveUp(ctx context.Context, id int64, broken error) error {
	slog.ErrorContext(ctx, "a waiting event cannot be read and is given up", "group", in.s.Group, "row", id, "err", broken)
	_, err := in.db.ExecContext(ctx, `UPDATE mq_inbox SET state = 'DEAD', tries = tries + 1, next_at = NULL, last_error = ?
		WHERE id = ? AND state = 'WAITING'`, cut("the row's event cannot be read: "+broken.Error(), 2000), id)
	return err
}

// wake makes a subject's next event due now, whether it waits for its turn or was given up waiting. Events that failed keep their pause.
const wake = `UPDATE mq_inbox SET state = 'WAITING', next_at = NOW(3) WHERE ` + byLine + ` AND seq = ?
	AND state IN ('WAITING', 'DEAD') AND tries = 0`

// wakeNext makes the successor of e due now, if it waits.
func (in *inbox) wakeNext(ctx context.Context, e Event) {
	if in.s.Order != Strict || e.Sequence == 0 {
		return
	}
	res, err := in.db.ExecContext(ctx, wake, append(in.line(e).args(), e.Sequence+1)...)
	if err != nil {
		slog.WarnContext(ctx, "consume: wake the next event", "group", in.s.Group, "err", err)
		return
	}
	if n, err := res.RowsAffected(); err == nil && n > 0 {
		select {
		case in.woken <- struct{}{}:
		default:
		}
	}
}

// fail records that the effect of e failed: the row waits for the next try, or is dead. It returns the outcome, or an error when even that could
// not be written.
func (in *inbox) fail(ctx context.Context, e Event, cause error) (outcome string, err error) {
	counts := !errors.Is(cause, ErrNotYet) && !database.Unavailable(cause)
	text, err := json.Marshal(e)
	if err != nil {
		return outcomeError, err
	}
	err = database.InTx(ctx, in.db, func(tx *sql.Tx) error {
		var (
			state        string
			tries, waits int
		)
		outcome = outcomeFailed
		// When the commit only seemed to fail, or another process was quicker, the row is DONE and stays so.
		_, err := tx.ExecContext(ctx, `INSERT INTO mq_inbox (grp, source, event_id, topic, type, subject, generation, seq, state, event)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'WAITING', ?) ON DUPLICATE KEY UPDATE id = id`,
			in.s.Group, e.Source, e.ID, in.s.Topic, e.Type, e.Subject, e.Generation, e.Sequence, text)
		if err != nil {
			return err
		}
		if err := tx.QueryRowContext(ctx, `SELECT state, tries, waits FROM mq_inbox WHERE `+byEvent+` FOR UPDATE`,
			in.s.Group, e.Source, e.ID).Scan(&state, &tries, &waits); err != nil {
			return err
		}
		if state != stateWaiting {
			outcome = outcomeDuplicate
			return nil
		}
		if counts {
			tries++
		} else {
			outcome = outcomeNotYet
			waits++
		}
		pause := sql.NullInt64{Int64: backoff.Pause(tries+waits, in.s.FirstPause, in.s.LongestPause).Microseconds(), Valid: true}
		if counts && (tries >= in.s.Tries || errors.Is(cause, ErrPoison)) {
			outcome, state, pause.Valid = outcomeDead, stateDead, false
		}
		_, err = tx.ExecContext(ctx, `UPDATE mq_inbox SET state = ?, tries = ?, waits = ?, last_error = ?,
			next_at = TIMESTAMPADD(MICROSECOND, ?, NOW(3)),
			history = RIGHT(CONCAT(COALESCE(history, ''), DATE_FORMAT(NOW(3), '%Y-%m-%dT%H:%i:%s.%fZ '), ?, '\n'), 8000) WHERE `+byEvent,
			state, tries, waits, cut(cause.Error(), 2000), pause, cut(fmt.Sprintf("%s, try %d: %v", outcome, tries, cause), 500), in.s.Group,
			e.Source, e.ID)
		return err
	})
	if err != nil {
		return outcomeError, errors.Join(cause, err)
	}
	if outcome == outcomeDead {
		slog.ErrorContext(ctx, "an event is given up", "group", in.s.Group, "event", e.ID, "type", e.Type, "subject", e.Subject, "err", cause)
	}
	return outcome, nil
}
