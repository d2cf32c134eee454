package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/google/uuid"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/messaging"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/shown"
	"example.com/fourfold/member/internal/member"
	"example.com/fourfold/member/internal/mysql"
	"example.com/fourfold/member/internal/password"
	"example.com/fourfold/member/migrations"
)

// seedCommand is the command "member seed". The password is not an argument, because lists of processes show arguments.
var seedCommand = service.Command[config]{Name: "seed", Run: func(ctx context.Context, cfg config, args []string) error {
	return seed(ctx, cfg, args, os.Getenv("SEED_PASSWORD"), os.Stdout)
}}

// seed creates the member that args describe, unless one with this email exists, and writes the member's id to out as its only line. A member
// that exists is left unchanged, the password too; one with another role is an error.
func seed(ctx context.Context, cfg config, args []string, secret string, out io.Writer) error {
	flags := flag.NewFlagSet("member seed", flag.ExitOnError)
	role := flags.String("role", string(member.Shopper), "shopper or operator")
	login := flags.String("login", "", "email")
	phone := flags.String("phone", "", "phone with + and the country code")
	name := flags.String("name", "", "name")
	_ = flags.Parse(args) // exits on an error
	if flags.NArg() > 0 {
		return fmt.Errorf("seed does not know %q: it takes -role, -login, -phone, -name, and SEED_PASSWORD", flags.Arg(0))
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	wanted, err := member.New(id.String(), *phone, *login, *name, member.Role(*role))
	if err != nil {
		return err
	}
	if err := shown.Line(wanted.Name); err != nil {
		return fmt.Errorf("-name: %w", err)
	}
	if err := password.Check(secret, wanted); err != nil {
		return fmt.Errorf("the environment variable SEED_PASSWORD is %w", err)
	}

	db, err := database.Open(cfg.MySQL)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if err := database.Migrate(ctx, db, migrations.FS, messaging.Tables()...); err != nil {
		return err
	}
	got, err := ensure(ctx, db, wanted, secret)
	if err != nil {
		return err
	}
	if got.Role != wanted.Role {
		return fmt.Errorf("%s is there already as %s, and is not made %s: give another -login", got.Email, got.Role, wanted.Role)
	}
	_, err = fmt.Fprintln(out, got.ID)
	return err
}

// ensure returns the member who has m's email, which is m when there was none. Nothing is published: a seeded member did not sign up.
func ensure(ctx context.Context, db *sql.DB, m member.Member, secret string) (member.Member, error) {
	members, login := mysql.NewStore(db), member.Login{Email: m.Email}
	found, _, err := members.ByLogin(ctx, login)
	if !errors.Is(err, member.ErrNotFound) {
		return found, err
	}
	passwords, err := password.NewHasher(0)
	if err != nil {
		return member.Member{}, err
	}
	hash, err := passwords.Hash(ctx, secret)
	if err != nil {
		return member.Member{}, err
	}
	err = database.InTx(ctx, db, func(tx *sql.Tx) error { return members.Create(ctx, tx, m, hash) })
	if !errors.Is(err, member.ErrExists) {
		return m, err
	}
	// Another seed was quicker, or the phone is taken.
	found, _, err = members.ByLogin(ctx, login)
	if errors.Is(err, member.ErrNotFound) {
		return member.Member{}, fmt.Errorf("the phone %s belongs to another member: give another -phone", m.Phone)
	}
	return found, err
}
