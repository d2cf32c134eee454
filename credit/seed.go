package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/messaging"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/credit/internal/account"
	"example.com/fourfold/credit/internal/mysql"
	"example.com/fourfold/credit/migrations"
)

const usage = "usage: credit seed -member ID -points N -source SOURCE"

// seedCommand is the command "credit seed".
var seedCommand = service.Command[config]{Name: "seed", Run: func(ctx context.Context, cfg config, args []string) error {
	return seed(ctx, cfg.MySQL, args, os.Stdout)
}}

// seed adds points to a member from the command line, once for each source, and writes one line about it to out. The second time nothing
// changes, whatever the member and the points are then.
func seed(ctx context.Context, cfg database.Config, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("seed", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	member := flags.String("member", "", "whose points")
	points := flags.Int64("points", 0, "how many, above 0")
	source := flags.String("source", "", "what for, such as seed:demo; counts once")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%s: %w", usage, err)
	}
	if flags.NArg() > 0 || *points <= 0 {
		return errors.New(usage + ", with N above 0 and nothing behind")
	}
	e, err := account.NewEntry(*source, *member, *points)
	if err != nil {
		return fmt.Errorf("%s: %w", usage, err)
	}
	db, err := database.Open(cfg)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if err := database.Migrate(ctx, db, migrations.FS, messaging.Tables()...); err != nil {
		return err
	}
	booked, added, err := mysql.NewStore(db).Grant(ctx, e)
	if err != nil {
		return err
	}
	if !added {
		_, err = fmt.Fprintf(out, "%s was booked before (%d points, member %s): nothing changed\n", booked.Source, booked.Points,
			booked.MemberID)
		return err
	}
	_, err = fmt.Fprintf(out, "%s: %d points added to member %s\n", booked.Source, booked.Points, booked.MemberID)
	return err
}
