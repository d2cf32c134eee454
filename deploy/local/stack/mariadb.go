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
)

// prepareMariaDB creates the server's data folder once, and the statements that the server runs at each start: a database and a user for each
// service, and reader. root has no password and can connect only over the socket, as the owner of the data folder.
func prepareMariaDB(ctx context.Context, dir string, sec secrets) error {
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
	return writeSecret(filepath.Join(dir, "init.sql"), initSQL(sec))
}

// initSQL returns the statements, which may run any number of times.
func initSQL(sec secrets) []byte {
	var b bytes.Buffer
	user := func(name string) {
		fmt.Fprintf(&b, "CREATE USER IF NOT EXISTS '%s'@'127.0.0.1';\n", name)
		fmt.Fprintf(&b, "ALTER USER '%s'@'127.0.0.1' IDENTIFIED BY '%s';\n", name, sec.MySQL[name])
	}
	for _, owner := range append([]string{"dtm"}, services...) {
		fmt.Fprintf(&b, "CREATE DATABASE IF NOT EXISTS shop_%s;\n", owner)
		user(owner)
		fmt.Fprintf(&b, "GRANT ALL ON `shop\\_%s`.* TO '%s'@'127.0.0.1';\n", owner, owner)
	}
	user(reader) // grantReader grants what it may read, when the services have made their tables
	return b.Bytes()
}
