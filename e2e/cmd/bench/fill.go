package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"example.com/fourfold/deploy/progress"
)

const (
	// memory is the buffer pool for all sizes: that of a million orders, as in BenchmarkMillion, because with a smaller one the disk decides.
	memory = 3 << 30
	// redo and filling are the sizes of the redo log, while payments are made and while tables are filled.
	redo, filling = 64 << 20, 512 << 20
	// capacity is innodb_io_capacity_max as it is by default, ten times innodb_io_capacity.
	capacity = 2000
	// anOrder and aTimer are about how many bytes a paid order takes in all tables, and a timer with its order in those that it needs.
	anOrder, aTimer = 17_000, 1_800
	// compressed is what page compression leaves of them.
	compressed = 0.38
	// fullest is how full the disk may become: the broker takes nothing from 0.9 on.
	fullest = 0.88
)

// enlarge gives the server the memory of a large shop.
func (g *growth) enlarge(ctx context.Context) error {
	return g.set(ctx, "innodb_buffer_pool_size", memory)
}

// setting is a variable of the server.
type setting struct {
	name  string
	value int
}

// set sets a variable of the server.
func (g *growth) set(ctx context.Context, name string, value int) error {
	_, err := g.shop.root.ExecContext(ctx, fmt.Sprintf("SET GLOBAL %s = %d", name, value))
	return err
}

// spare returns an error when the disk has no room for all that is to be filled in, else what returns that later. Where there would be room
// for compressed pages only, all tables of f get them, from the least size on.
func (g *growth) spare(ctx context.Context, dir string, f *family) (room func() error, err error) {
	left := func() (float64, error) {
		var s syscall.Statfs_t
		err := syscall.Statfs(dir, &s)
		used, free := float64(s.Blocks-s.Bfree)*float64(s.Bsize), float64(s.Bavail)*float64(s.Bsize)
		return fullest*(used+free) - used, err
	}
	room = func() error {
		if bytes, err := left(); err != nil || bytes > 0 {
			return err
		}
		return fmt.Errorf("the disk at %s is %.0f %% full, more than is good for the message broker", dir, fullest*100)
	}
	bytes, err := left()
	need := float64(g.sizes[len(g.sizes)-1])*anOrder + float64(g.timers)*aTimer
	switch {
	case err != nil || bytes > need:
		return room, err
	case bytes < need*compressed:
		return nil, fmt.Errorf("the disk at %s has %.1f GB to spare, and %.1f are needed: make room, or choose less with -sizes and -timers", dir, bytes/1e9,
			need*compressed/1e9)
	}
	fmt.Printf("the pages are compressed, at all sizes: the disk has %.1f GB to spare, and %.1f would be needed\n", bytes/1e9, need/1e9)
	if err := g.set(ctx, "innodb_compression_level", 1); err != nil {
		return nil, err
	}
	for _, t := range f.tables {
		if _, err := g.shop.root.ExecContext(ctx, fmt.Sprintf("ALTER TABLE %s PAGE_COMPRESSED = 1", t)); err != nil {
			return nil, err
		}
	}
	return room, nil
}

// fill copies f until it is of n calls, and waits until the server has come to rest.
func (g *growth) fill(ctx context.Context, f *family, n int, room func() error) (err error) {
	copies := n/originals - 1
	if copies <= f.copies {
		return g.rest(ctx, f, nil)
	}
	step := g.log.Step("fill")
	defer func() {
		if err != nil {
			step.Fail()
		}
	}()
	began := time.Now()
	for _, of := range []setting{{"innodb_flush_log_at_trx_commit", 2}, {"innodb_log_file_size", filling}} {
		if err := g.set(ctx, of.name, of.value); err != nil {
			return err
		}
	}
	if err := f.copyTo(ctx, copies, room, step.Note); err != nil {
		return err
	}
	took := time.Since(began)
	if err := g.rest(ctx, f, step); err != nil {
		return err
	}
	step.Done("%d %s orders, rows made in %s", n, f.name, took.Round(time.Second))
	return nil
}

// rest waits until nothing of the filling is left to be done: what it changed is on the disk, and the optimizer knows the tables. Commits are
// durable again.
func (g *growth) rest(ctx context.Context, f *family, step *progress.Step) error {
	for _, t := range f.tables {
		if _, err := g.shop.root.ExecContext(ctx, "ANALYZE TABLE "+t.String()); err != nil {
			return err
		}
	}
	for _, of := range []setting{{"innodb_max_dirty_pages_pct", 0}, {"innodb_io_capacity_max", 20 * capacity}, {"innodb_io_capacity", 20 * capacity}} {
		if err := g.set(ctx, of.name, of.value); err != nil {
			return err
		}
	}
	for over := time.Now().Add(5 * time.Minute); ; {
		var dirty int
		if err := g.shop.root.QueryRowContext(ctx, `SELECT variable_value FROM information_schema.global_status
			WHERE variable_name = 'Innodb_buffer_pool_pages_dirty'`).Scan(&dirty); err != nil {
			return err
		}
		if dirty < 200 || time.Now().After(over) {
			break
		}
		if step != nil {
			step.Note("%d pages to be written", dirty)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	for _, of := range []setting{{"innodb_io_capacity", capacity / 10}, {"innodb_io_capacity_max", capacity}, {"innodb_max_dirty_pages_pct", 90},
		{"innodb_flush_log_at_trx_commit", 1}, {"innodb_log_file_size", redo}} {
		if err := g.set(ctx, of.name, of.value); err != nil {
			return err
		}
	}
	return g.durable(ctx)
}
