// Command jobs does in containers what `make up` does on one machine before and after the processes are started: see compose.yaml.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"example.com/fourfold/deploy/demo"
	"example.com/fourfold/deploy/prepare"
)

const usage = `usage: jobs COMMAND

  prepare   makes secrets and keys in /secrets, once, and gives each process its own
  logins    prints who signs in, as JSON
  users     makes the database of each service, and its users
  grants    lets the reader read what people look at
  seed      makes an operator, a shopper and a catalogue, then waits until it is told to stop
  seeded    reports whether seed has done that
`

// What the jobs read and write. Each folder of secrets is a volume that only its process mounts beside them.
const (
	secrets = "/secrets"
	all     = secrets + "/all"
	// users has the statements of the job of that name.
	users = secrets + "/users.sql"
	// inside are the hosts from which users of the database come.
	inside = "%"
	// services and mysql are the users that processes run as.
	services, mysql = 65532, 999
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "jobs:", err)
		os.Exit(1) //nolint:gocritic // stop need not run: the process ends
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New(usage)
	}
	switch args[0] {
	case "prepare":
		return distribute()
	case "logins":
		return logins()
	case "users":
		statements, err := os.ReadFile(users)
		if err != nil {
			return err
		}
		return asRoot(ctx, string(statements))
	case "grants":
		return asRoot(ctx, prepare.ReaderGrants(inside))
	case "seed":
		return seed(ctx)
	case "seeded":
		_, err := os.Stat(seeded)
		return err
	}
	return errors.New(usage)
}

// distribute makes what is missing and gives each process its part.
func distribute() error {
	err := prepare.CheckLayout(all, "secrets.json", "go on with the version that made it, or remove it with `docker compose down -v`")
	if err != nil {
		return fmt.Errorf("the volumes: %w", err)
	}
	s, err := prepare.Load(all)
	if err != nil {
		return err
	}
	if err := prepare.Keys(all); err != nil {
		return err
	}
	for process, files := range s.Files(os.Getenv("DATABASE_ADDR")) {
		for name, text := range files {
			if err := give(filepath.Join(process, name), []byte(text), services); err != nil {
				return err
			}
		}
	}
	private, public := "keys/member/k1.pem", "keys/identity/k1.pem"
	for from, to := range map[string]string{private: "member/k1.pem", public: "identity/k1.pem"} {
		text, err := os.ReadFile(filepath.Join(all, from))
		if err != nil {
			return err
		}
		if err := give(to, text, services); err != nil {
			return err
		}
	}
	return give("users/users.sql", prepare.Users(s, inside), mysql)
}

// give writes a file that only user can read. A process that reads it meanwhile has the old one or the new one.
func give(name string, text []byte, user int) error {
	path := filepath.Join(secrets, name)
	return errors.Join(os.WriteFile(path+".new", text, 0o400), os.Chown(path+".new", user, user), os.Rename(path+".new", path),
		os.Chown(filepath.Dir(path), user, user), os.Chmod(filepath.Dir(path), 0o500))
}

// logins prints the part of a system.Target that only the secrets tell.
func logins() error {
	s, err := prepare.Load(all)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(s.Target())
}

// asRoot runs statements as the database's root, who comes over the socket only.
func asRoot(ctx context.Context, statements string) error {
	db, err := sql.Open("mysql", "mysql@unix(/run/mysqld/mysqld.sock)/?multiStatements=true")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	_, err = db.ExecContext(ctx, statements)
	return err
}

// seeded is there when seed is done.
const seeded = "/tmp/seeded"

func seed(ctx context.Context) error {
	s, err := prepare.Load(all)
	if err != nil {
		return err
	}
	t := s.Target()
	t.Gateway = os.Getenv("GATEWAY")
	err = prepare.Seed(t, func(env map[string]string, program string, args ...string) (string, error) {
		return prepare.Run(ctx, env, "/"+program, args...)
	})
	if err != nil {
		return err
	}
	if err := t.Write(os.TempDir()); err != nil {
		return err
	}
	products, err := demo.Catalogue(ctx, os.TempDir())
	if err != nil {
		return err
	}
	fmt.Printf("an operator, a shopper, %d products: `docker compose run --rm --no-deps prepare logins` prints the passwords\n", products)
	if err := os.WriteFile(seeded, []byte(time.Now().Format(time.RFC3339)), 0o600); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
