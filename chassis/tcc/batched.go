package tcc

import (
	"context"
	"errors"
	"slices"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"google.golang.org/protobuf/types/known/emptypb"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/batch"
)

// Of is what one call of a phase asks of the participant's tables.
type Of[R any] struct {
	// Subject is what the transaction is about, and GID names it.
	Subject, GID string
	Request      R
	call         Call
	// ran becomes true when the barrier lets the call run.
	ran *bool
}

// Subjects returns the subjects of all calls, in ascending order and as parameters of an IN.
func Subjects[R any](items []*batch.Item[Of[R]]) (in string, args []any) {
	var all []string
	for _, i := range items {
		all = append(all, i.Request.Subject)
	}
	slices.Sort(all)
	return database.In(all)
}

// Batched is one phase of a participant, whose calls that come at the same time share a local transaction: see batch. What Participant says of
// the barrier holds for each call by itself; one that refuses, or finds nothing tried, does not touch the others.
type Batched[R any] struct {
	p      *Participant
	phase  Phase
	answer func(error) error
	runner *batch.Runner[Of[R]]
}

// NewBatched returns the phase of p that work does. Of the calls that work's Write gets, the barrier lets all run. answer returns the answer for an
// error of the domain.
func NewBatched[R any](p *Participant, phase Phase, work func() batch.Work[Of[R]], answer func(error) error) *Batched[R] {
	return &Batched[R]{p: p, phase: phase, answer: answer, runner: batch.New(p.db, func() batch.Work[Of[R]] {
		b := &barrier[R]{work: work(), passed: map[place]bool{}}
		return batch.Work[Of[R]]{Read: b.read, Write: b.write}
	})}
}

// Run makes the call that ctx belongs to, as Participant.Run does. It reports whether the phase ran now: when it did not, and without an error,
// it ran before, or must not run any more.
func (b *Batched[R]) Run(ctx context.Context, subject string, request R) (ran bool, err error) {
	var passed bool // which the batch may still change when ctx ends
	if err := b.p.serve(ctx, b.phase, subject, func(ctx context.Context, c Call) error {
		err := b.answer(b.runner.Do(ctx, Of[R]{Subject: subject, GID: c.GID, Request: request, call: c, ran: &passed}))
		if !kerrors.IsConflict(err) && !errors.Is(err, ErrNotTried) {
			return err
		}
		// It may have met its own effect: the barrier was read before the rows, and what it was repeated for committed in between.
		before, found := b.ranBefore(ctx, c)
		if found != nil || before {
			return found
		}
		return err
	}); err != nil {
		return false, err
	}
	return passed, nil
}

// ranBefore reports whether the barrier has the row of c.
func (b *Batched[R]) ranBefore(ctx context.Context, c Call) (ran bool, err error) {
	err = b.p.db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM barrier WHERE gid = ? AND branch_id = ? AND op = ? AND barrier_id = '01')",
		c.GID, c.Branch, c.Phase).Scan(&ran)
	return ran, err
}

// Reply makes a method's reply of what Run returns.
func Reply(_ bool, err error) (*emptypb.Empty, error) {
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

// place is a row of the barrier.
type place struct {
	gid, branch string
	phase       Phase
}

// barrier is the barrier before the work of one batch. Its rows mean what they mean to pass. They are read, and locked, before the work, and
// written with it: a row that another transaction writes meanwhile makes the batch fail as a duplicate, and each of its calls is made alone.
type barrier[R any] struct {
	work   batch.Work[Of[R]]
	passed map[place]bool
}

func (b *barrier[R]) read(items []*batch.Item[Of[R]]) []batch.Statement {
	var gids []string
	for _, i := range items {
		gids = append(gids, i.Request.GID)
		*i.Request.ran = false
	}
	in, args := database.In(gids)
	rows := batch.Find("SELECT gid, branch_id, op FROM barrier FORCE INDEX (uniq_barrier) WHERE gid IN ("+in+") AND barrier_id = '01' ORDER BY gid FOR UPDATE", args,
		func(scan func(...any) error) error {
			var at place
			err := scan(&at.gid, &at.branch, &at.phase)
			b.passed[at] = true
			return err
		})
	return append([]batch.Statement{rows}, b.work.Read(items)...)
}

func (b *barrier[R]) write(items []*batch.Item[Of[R]]) ([]batch.Statement, error) {
	var run []*batch.Item[Of[R]]
	first := map[place]*batch.Item[Of[R]]{}
	var empty []place
	for _, i := range items {
		c := i.Request.call
		own, tried := place{c.GID, c.Branch, c.Phase}, place{c.GID, c.Branch, Try}
		switch {
		case first[own] != nil:
			i.As(first[own])
			continue
		case b.passed[own]:
			continue
		case c.Phase == Cancel && !b.passed[tried]:
			// The Try never ran (empty rollback), and will find its place taken when it comes (hanging).
			empty = append(empty, tried, own)
		default:
			run = append(run, i)
		}
		first[own] = i
	}
	writes, err := b.work.Write(run)
	if err != nil {
		return nil, err
	}
	var rows batch.Values
	for _, at := range empty {
		rows.Add("tcc", at.gid, at.branch, at.phase, "01", Cancel)
	}
	for _, i := range run {
		if c := i.Request.call; !i.Refused() {
			rows.Add("tcc", c.GID, c.Branch, c.Phase, "01", c.Phase)
			*i.Request.ran = true
		}
	}
	return append(rows.Into("barrier (trans_type, gid, branch_id, op, barrier_id, reason)"), writes...), nil
}
