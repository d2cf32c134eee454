package main

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/env"
	"example.com/fourfold/chassis/messaging"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/member/internal/member"
	"example.com/fourfold/member/internal/mysql"
	"example.com/fourfold/member/internal/password"
	"example.com/fourfold/member/migrations"
)

// The commands that change an account. Each ends the account's tokens.
var (
	passwordCommand = changeCommand("password", setPassword)
	roleCommand     = changeCommand("role", setRole)
	closeCommand    = changeCommand("close", closeAccount)
)

// change is a change of one account.
type change struct {
	members *mysql.Store
	member  member.Member
	// role is the flag -role.
	role string
	// secret returns the new password.
	secret func() (string, error)
}

func changeCommand(name string, apply func(context.Context, change) error) service.Command[config] {
	return service.Command[config]{Name: name, Run: func(ctx context.Context, cfg config, args []string) error {
		return changeMember(ctx, cfg, name, args, apply, os.Stdin, os.Stdout)
	}}
}

// changeMember applies a change to the member whom args name, and writes the member's id to out as its only line.
func changeMember(ctx context.Context, cfg config, name string, args []string, apply func(context.Context, change) error, in io.Reader,
	out io.Writer) error {
	c := change{secret: func() (string, error) { return newPassword(in) }}
	flags := flag.NewFlagSet("member "+name, flag.ExitOnError)
	login := flags.String("login", "", "email, or phone with + and the country code")
	if name == "role" {
		flags.StringVar(&c.role, "role", "", "shopper or operator")
	}
	_ = flags.Parse(args) // exits on an error
	if flags.NArg() > 0 {
		return fmt.Errorf("%s does not know %q: `member %[1]s -h` shows what it takes", name, flags.Arg(0))
	}
	db, err := database.Open(cfg.MySQL)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if err := database.Migrate(ctx, db, migrations.FS, messaging.Tables()...); err != nil {
		return err
	}
	if c.member, err = find(ctx, db, *login); err != nil {
		return err
	}
	c.members = mysql.NewStore(db)
	if err := apply(ctx, c); err != nil {
		return err
	}
	slog.WarnContext(ctx, "an account was changed on the command line; its tokens have ended", "change", name, "member", c.member.ID)
	_, err = fmt.Fprintln(out, c.member.ID)
	return err
}

func find(ctx context.Context, db *sql.DB, login string) (member.Member, error) {
	m, _, err := mysql.NewStore(db).ByLogin(ctx, member.ParseLogin(login))
	if errors.Is(err, member.ErrNotFound) {
		return m, fmt.Errorf("nobody has the login %q: give the email or the phone with -login", login)
	}
	return m, err
}

// newPassword returns SET_PASSWORD, or the first line of in. It is not an argument, because lists of processes show arguments.
func newPassword(in io.Reader) (string, error) {
	secret, err := env.Get("SET_PASSWORD")
	if err != nil || secret != "" {
		return secret, err
	}
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimRight(line, "\r\n"), nil
}

func setPassword(ctx context.Context, c change) error {
	secret, err := c.secret()
	if err != nil {
		return err
	}
	if err := password.Check(secret, c.member); err != nil {
		return fmt.Errorf("the new password, of SET_PASSWORD or the standard input, is %w", err)
	}
	passwords, err := password.NewHasher(0)
	if err != nil {
		return err
	}
	hash, err := passwords.Hash(ctx, secret)
	if err != nil {
		return err
	}
	return c.members.SetPassword(ctx, c.member.ID, hash)
}

func setRole(ctx context.Context, c change) error {
	r := member.Role(c.role)
	if r != member.Shopper && r != member.Operator {
		return fmt.Errorf("-role is %q: give %s or %s", c.role, member.Shopper, member.Operator)
	}
	_, err := c.members.SetRole(ctx, c.member.ID, r)
	return err
}

func closeAccount(ctx context.Context, c change) error { return c.members.Close(ctx, c.member.ID) }
