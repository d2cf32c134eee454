package messaging

import (
	"context"
	"fmt"
	"io/fs"
	"os"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/service"
)

// GenerationCommand is the command "generation" of a service that publishes: it prints the generation of the service's database as its only
// line, and "generation new" begins another one first. That is for a database that was restored from a backup, while no instance runs. of
// returns where the database is, own are its tables, and numbered those that count the events about their rows.
func GenerationCommand[C any](of func(C) database.Config, own fs.FS, numbered ...mq.Numbered) service.Command[C] {
	return service.Command[C]{Name: "generation", Run: func(ctx context.Context, cfg C, args []string) error {
		begin := len(args) == 1 && args[0] == "new"
		if len(args) > 0 && !begin {
			return fmt.Errorf("generation does not know %q: it takes new, or nothing to print the current one", args)
		}
		at := of(cfg)
		at.MaxConns = 1 // so that no other connection is its own
		db, err := database.Open(at)
		if err != nil {
			return err
		}
		defer func() { _ = db.Close() }()
		if err := database.Migrate(ctx, db, own, Tables()...); err != nil {
			return err
		}
		var id string
		if begin {
			id, err = mq.BeginGeneration(ctx, db, numbered)
		} else {
			id, err = mq.CurrentGeneration(ctx, db)
		}
		if err == nil {
			_, err = fmt.Fprintln(os.Stdout, id)
		}
		return err
	}}
}
