// Package batch lets calls that come at the same time share one local transaction: its commit, and its round trips to the database. Nobody waits
// for others to come: a batch is what came while the one before was committed.
package batch

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"example.com/fourfold/chassis/database"
)

// Most is how many calls share a transaction at most.
const Most = 64

// Item is one call in a batch.
type Item[R any] struct {
	// Context is the call's, for its values, as the trace. A batch goes on when one ends.
	Context context.Context
	Request R
	err     error
	as      *Item[R]
	done    chan struct{}
}

// Refuse makes the call return err. It must not be among the changes; the others go on.
func (i *Item[R]) Refuse(err error) { i.err = err }

// Refused reports whether Refuse was called.
func (i *Item[R]) Refused() bool { return i.err != nil }

// As makes the call return what the call first returns, which is the same one. It must not be among the changes.
func (i *Item[R]) As(first *Item[R]) { i.as = first }

// result returns what the call returns after its batch.
func (i *Item[R]) result() error {
	if i.as != nil {
		return i.as.err
	}
	return i.err
}

// Work is what a Runner does for a batch.
type Work[R any] struct {
	// Read returns the statements that find out what the calls need to know, and lock it, in an order that is the same for every batch. It may
	// be nil; then the whole transaction is one round trip.
	Read func(items []*Item[R]) []Statement
	// Write decides about each call, and returns the statements that change what they change. It returns nothing for those that are refused. It
	// may be nil: then nothing is changed, there is no transaction, and Read is one round trip.
	Write func(items []*Item[R]) ([]Statement, error)
}

// Runner makes local transactions for calls that come at the same time.
type Runner[R any] struct {
	db *sql.DB
	// new returns the work of one batch: Read and Write share what Read's statements find.
	new func() Work[R]
	// late is when others no longer wait for a batch.
	late time.Duration

	mu      sync.Mutex
	waiting []*Item[R]
	// busy: somebody makes the batch of those who wait, or will.
	busy bool
}

// New returns a Runner on db, whose connections must take several statements at a time.
func New[R any](db *sql.DB, work func() Work[R]) *Runner[R] {
	return &Runner[R]{db: db, new: work, late: late}
}

const (
	// timeout bounds a transaction.
	timeout = 10 * time.Second
	// late is far above what a batch takes that does not wait itself, for a row that somebody has locked.
	late = 50 * time.Millisecond
)

// Do makes the call r, together with others, and returns when it is committed or refused. An error that Write did not refuse it with is
// ambiguous: the call may have been made. When ctx ends Do returns, and the call may still be made.
func (r *Runner[R]) Do(ctx context.Context, request R) error {
	i := &Item[R]{Context: ctx, Request: request, done: make(chan struct{})}
	r.mu.Lock()
	r.waiting = append(r.waiting, i)
	begin := !r.busy
	r.busy = true
	r.mu.Unlock()
	if begin && r.next(1) { // its own call, which ends with ctx
		go r.others()
	}
	select {
	case <-i.done:
		return i.result()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// others makes batches as long as somebody waits.
func (r *Runner[R]) others() {
	for r.next(Most) {
	}
}

// next makes a batch of those who wait, at most most, and reports whether the same caller is to make the next one. When a batch fails, each call
// gets a transaction of its own: what is wrong with one, or locked, is not wrong with the others.
func (r *Runner[R]) next(most int) bool {
	r.mu.Lock()
	items := r.waiting[:min(len(r.waiting), most)]
	r.waiting = r.waiting[len(items):]
	r.busy = len(items) > 0
	r.mu.Unlock()
	if len(items) == 0 {
		return false
	}
	others := time.AfterFunc(r.late, r.others)
	err := r.make(items)
	var calls sync.WaitGroup
	for _, i := range items {
		switch {
		case err == nil:
			close(i.done)
		case len(items) == 1:
			i.err, i.as = err, nil
			close(i.done)
		default:
			calls.Go(func() {
				if err := r.make([]*Item[R]{i}); err != nil {
					i.err, i.as = err, nil
				}
				close(i.done)
			})
		}
	}
	calls.Wait()
	return others.Stop()
}

// make makes one transaction for items. The victim of a deadlock is made again, and once what met a row that another transaction has just
// written: it reads that now.
func (r *Runner[R]) make(items []*Item[R]) error {
	ctx := items[0].Context // the statements of all are in the trace of the first
	if len(items) > 1 {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	once := func() (err error) {
		for _, i := range items {
			i.err, i.as = nil, nil
		}
		w := r.new()
		p, err := begin(ctx, r.db)
		if err != nil {
			return err
		}
		defer func() {
			if panicked := recover(); panicked != nil { // which must not take the process along, and other calls with it
				err = fmt.Errorf("panic: %v\n%s", panicked, debug.Stack())
			}
			p.end(err)
		}()
		if w.Write == nil {
			return p.send(ctx, w.Read(items))
		}
		open := []Statement{{SQL: "BEGIN"}}
		if w.Read != nil {
			if err := p.send(ctx, append(open, w.Read(items)...)); err != nil {
				return err
			}
			open = nil
		}
		writes, err := w.Write(items)
		switch {
		case err != nil:
			return err
		case open != nil && len(writes) == 1:
			return p.send(ctx, writes) // the statement is a transaction
		}
		return p.send(ctx, append(append(open, writes...), Statement{SQL: "COMMIT"}))
	}
	for attempt := 1; ; attempt++ {
		err := once()
		switch {
		case database.Again(ctx, attempt, err):
			slog.WarnContext(ctx, "undone to end a deadlock: repeated", "calls", len(items), "attempt", attempt, "err", err)
		case database.Deadlock(err):
			return fmt.Errorf("nothing was changed, ask again; the database ended %d deadlocks in a row by undoing it: %w", attempt, err)
		case database.Duplicate(err) && attempt == 1:
		default:
			return err
		}
	}
}
