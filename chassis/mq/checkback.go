package mq

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/failpoint"
)

// Answer returns background work that registers this process with the transport as one that can be asked about half messages, those of dead
// instances included, until ctx ends. Run it wherever PublishInTx is called. Any topic of the service will do.
func (o *Outbox) Answer(topic string) func(context.Context) error {
	return func(ctx context.Context) error {
		if o.halves == nil {
			<-ctx.Done()
			return nil
		}
		return o.halves.Answer(ctx, topic)
	}
}

// answer is the outbox's Check. It returns in time whatever happens, because a transport may ask about all messages in one goroutine.
func (o *Outbox) answer(topic, id string, born time.Time) Verdict {
	ctx, cancel := context.WithTimeout(context.Background(), o.cfg.CheckTimeout)
	defer cancel()
	type answer struct {
		verdict Verdict
		err     error
	}
	answers := make(chan answer, 1)
	go func() {
		a := answer{Unknown, errors.New("no answer")}
		defer func() {
			if p := recover(); p != nil {
				a = answer{Unknown, fmt.Errorf("panic: %v", p)}
			}
			answers <- a
		}()
		if a.err = failpoint.Hit(ctx, "mq/check"); a.err == nil {
			a.verdict, a.err = o.check(ctx, topic, id, born)
		}
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			slog.WarnContext(ctx, "check-back", "event", id, "err", a.err)
			return Unknown
		}
		return a.verdict
	case <-ctx.Done():
		slog.WarnContext(ctx, "check-back: the database does not answer in time", "event", id)
		return Unknown
	}
}

// check decides by the outbox row. A row that is not there may still come until the half message is older than the longest local transaction.
// After that a tombstone takes its place, so that it cannot come any more, and the half message is rolled back.
func (o *Outbox) check(ctx context.Context, topic, id string, born time.Time) (Verdict, error) {
	state, err := o.stateOf(ctx, id)
	if errors.Is(err, sql.ErrNoRows) {
		var age int64
		if err := o.db.QueryRowContext(ctx, "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED) - ?",
			born.UnixMilli()).Scan(&age); err != nil {
			return Unknown, err
		}
		if time.Duration(age)*time.Millisecond <= o.cfg.LongestTx {
			return Unknown, nil
		}
		_, err = o.db.ExecContext(ctx, `INSERT INTO mq_outbox (event_id, topic, subject, event, state, closed_at)
			VALUES (?, ?, '', '', 'VOID', NOW(3))`, id, topic)
		switch {
		case err == nil:
			return Rollback, nil
		case !database.Duplicate(err):
			return Unknown, err
		}
		state, err = o.stateOf(ctx, id) // it came after all
	}
	switch {
	case err != nil:
		return Unknown, err
	case state == stateVoid:
		return Rollback, nil
	}
	return Commit, nil
}

func (o *Outbox) stateOf(ctx context.Context, id string) (state string, err error) {
	err = o.db.QueryRowContext(ctx, "SELECT state FROM mq_outbox WHERE event_id = ?", id).Scan(&state)
	return state, err
}
