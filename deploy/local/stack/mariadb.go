package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"example.com/fourfold/deploy/prepare"
)

// here is the host from which the users of a database server on this machine come.
const here = "127.0.0.1"

// prepareMariaDB creates the server's data folder once, and the statements that the server runs at each start: a database and two users for
// each service, and reader. root has no password and can connect only over the socket, as the owner of the data folder.
func prepareMariaDB(ctx context.Context, dir string, sec prepare.Secrets) error {
	data, tmp := filepath.Join(dir, "mysql"), filepath.Join(dir, "tmp")
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		return err
	}
	if _, err := os.Stat(data); errors.Is(err, fs.ErrNotExist) {
		fresh := data + ".new"
		if err := os.RemoveAll(fresh); err != nil {
			return err
		}
		// --force: also on a machine that cannot resolve its own name.
		out, err := exec.CommandContext(ctx, "mariadb-install-db", "--no-defaults", "--force", "--user="+userName(), "--datadir="+fresh,
			"--tmpdir="+tmp,
			"--auth-root-authentication-method=socket", "--auth-root-socket-user="+userName(), "--skip-test-db").CombinedOutput()
		if err != nil {
			return fmt.Errorf("mariadb-install-db: %w\n%s", err, out)
		}
		if err := os.Rename(fresh, data); err != nil {
			return err
		}
	}
	return prepare.Secret(filepath.Join(dir, "init.sql"), prepare.Users(sec, here))
}

// grantReader lets the reader read what people look at. The services must have made their tables.
func (s *Stack) grantReader(ctx context.Context) error {
	return s.asRoot(ctx, prepare.ReaderGrants(here))
}

// asRoot runs statements as the database's root, who connects over the socket only.
func (s *Stack) asRoot(ctx context.Context, statements string) error {
	cmd := exec.CommandContext(ctx, "mariadb", "--no-defaults", "--user="+userName(), "--socket=mysql/mysql.sock")
	cmd.Dir = s.dir // a socket's path has at most 108 bytes
	cmd.Stdin = strings.NewReader(statements)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mariadb: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}
