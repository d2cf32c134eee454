// Package mysqltest gives tests real databases: one private MariaDB server for each test binary, a database for each test.
package mysqltest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/port"
	"example.com/fourfold/chassis/tied"
)

// Server is a running MariaDB server on 127.0.0.1 that dies with this process.
type Server struct {
	Addr string
	port *port.Claim
	dir  string
	args []string
	cmd  *exec.Cmd
}

var (
	once    sync.Once
	shared  *Server
	failure error
	count   atomic.Int64
)

// Main runs the tests of a package and stops the server they used: func TestMain(m *testing.M) { mysqltest.Main(m) }.
func Main(m *testing.M) {
	code := m.Run()
	Stop()
	os.Exit(code)
}

// Stop stops the server that the tests of this process used, for a TestMain that does more than Main.
func Stop() {
	if shared != nil {
		shared.Stop()
	}
}

// Open returns a new database of the test's own, migrated as database.Migrate does, for an account with a service's privileges: Owner has more.
// It fails the test when no MariaDB server is installed.
func Open(t testing.TB, own fs.FS, parts ...database.Part) *sql.DB {
	t.Helper()
	watch()
	cfg := Config(t)
	cfg.DSN = strings.Replace(cfg.DSN, "@tcp(", "@"+watched+"(", 1)
	db, err := database.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := database.Migrate(t.Context(), db, own, parts...); err != nil {
		t.Fatal(err)
	}
	return db
}

// Owner returns a pool like db, which Open opened or Config tells of, for the account that owns the database: it may change tables.
func Owner(t testing.TB, db *sql.DB) *sql.DB {
	t.Helper()
	var name string
	if err := db.QueryRowContext(t.Context(), "SELECT DATABASE()").Scan(&name); err != nil {
		t.Fatal(err)
	}
	owner, err := database.Open(database.Config{DSN: shared.DSN(name)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = owner.Close() })
	return owner
}

// service is the account with a service's privileges in every test's database. It also sees what others wait for.
const service = "service"

// Config returns the settings of a new, empty database of the test's own, as a service has them: one account to run, and one to migrate.
func Config(t testing.TB) database.Config {
	t.Helper()
	owner := DSN(t)
	return database.Config{DSN: strings.Replace(owner, "root@", service+"@", 1), MigrateDSN: owner}
}

// startShared starts the server of this process's tests.
func startShared() (*Server, error) {
	s, err := Start()
	if err != nil {
		return nil, err
	}
	for _, statement := range []string{
		"CREATE USER " + service + "@'127.0.0.1'",
		"GRANT " + database.Privileges + " ON `test\\_%`.* TO " + service + "@'127.0.0.1'",
		"GRANT PROCESS ON *.* TO " + service + "@'127.0.0.1'",
	} {
		if err := s.Exec(context.Background(), statement); err != nil {
			s.Stop()
			return nil, err
		}
	}
	return s, nil
}

// DSN returns the address of a new, empty database of the test's own, as root.
func DSN(t testing.TB) string {
	t.Helper()
	once.Do(func() { shared, failure = startShared() })
	if failure != nil {
		t.Fatal(failure)
	}
	name := fmt.Sprintf("test_%d", count.Add(1))
	if err := shared.Exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return shared.DSN(name)
}

// Start starts another server, with further options of mariadbd, in a temporary folder. It dies with this process, even when that is killed.
func Start(options ...string) (*Server, error) {
	server, err := exec.LookPath("mariadbd")
	if err != nil {
		return nil, fmt.Errorf("the tests need a MariaDB server: apt-get install mariadb-server: %w", err)
	}
	dir, err := os.MkdirTemp("", "fourfold-mariadb-")
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	if err := newData(server, data, dir, options); err != nil {
		return nil, err
	}
	claim, err := port.Take()
	if err != nil {
		return nil, err
	}
	s := &Server{Addr: claim.Addr(), dir: dir, port: claim}
	s.args = []string{server, "--no-defaults", "--datadir=" + data, "--bind-address=127.0.0.1", "--port=" + strconv.Itoa(claim.Port),
		"--socket=" + filepath.Join(dir, "s.sock"), "--pid-file=" + filepath.Join(dir, "pid"),
		"--innodb-buffer-pool-size=64M", "--innodb-log-file-size=32M", "--max-connections=500",
		// The data of a test need not survive the machine.
		"--innodb-flush-log-at-trx-commit=2", "--performance-schema=OFF", "--skip-log-bin", "--user=root"}
	s.args = append(s.args, options...)
	if err := s.Restart(); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// newData makes the data folder of a new server. It is a copy of one that was made once for that program and these options, because making one
// means waiting for the disk for seconds, and each package has a server of its own.
func newData(server, data, dir string, options []string) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return install(data, dir, options)
	}
	program, err := os.Stat(server)
	if err != nil {
		return err
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%s %s %d %q", server, program.ModTime(), program.Size(), options))
	template := filepath.Join(cache, "fourfold-tests", fmt.Sprintf("mariadb-%x", key[:8]))
	if _, err := os.Stat(template); err != nil {
		if err := install(data, dir, options); err != nil {
			return err
		}
		// Others may do the same at this time: one is first, and the others' copies are removed.
		if os.MkdirAll(filepath.Dir(template), 0o700) != nil {
			return nil
		}
		fresh, err := os.MkdirTemp(filepath.Dir(template), "new-")
		if err != nil {
			return nil //nolint:nilerr // the next one makes it again
		}
		if copied(data, filepath.Join(fresh, "data")) == nil {
			_ = os.Rename(filepath.Join(fresh, "data"), template)
		}
		return os.RemoveAll(fresh)
	}
	return copied(template, data)
}

func install(data, dir string, options []string) error {
	cmd := exec.Command("mariadb-install-db", append([]string{"--no-defaults", "--force", "--datadir=" + data,
		"--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-log-file-size=32M"}, options...)...)
	cmd.Env = env(dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mariadb-install-db: %w\n%s", err, out)
	}
	return nil
}

// copied copies a folder of plain files and folders.
func copied(from, to string) error {
	if out, err := exec.Command("cp", "-R", "--sparse=always", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("cp: %w: %s", err, out)
	}
	return nil
}

// Restart starts the server again after Kill, on the same port and with its data, and waits until it answers.
func (s *Server) Restart() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "mariadbd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	s.cmd.Env = env(s.dir)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := tied.Start(s.cmd); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	for {
		err := s.Exec(ctx, "SELECT 1")
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("mariadbd does not answer; its last words: %s: %w", tail(log.Name(), 2000), err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Kill ends the server as a crash would. Its data stays for Restart.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// Freeze stops the server without closing its connections; thaw lets it go on.
func (s *Server) Freeze() (thaw func(), err error) {
	if err := tied.Freeze(s.cmd.Process); err != nil {
		return nil, err
	}
	return func() { _ = s.cmd.Process.Signal(syscall.SIGCONT) }, nil
}

// DSN returns the address of the database called name, as root.
func (s *Server) DSN(name string) string { return "root@tcp(" + s.Addr + ")/" + name }

// Exec runs one statement outside any database.
func (s *Server) Exec(ctx context.Context, stmt string) error {
	db, err := sql.Open("mysql", s.DSN(""))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	_, err = db.ExecContext(ctx, stmt)
	return err
}

// Stop kills the server and removes its data.
func (s *Server) Stop() {
	if s.cmd != nil && s.cmd.Process != nil {
		s.Kill()
	}
	s.port.Close()
	_ = os.RemoveAll(s.dir)
}

// tail returns the last n bytes of a file.
func tail(name string, n int) []byte {
	b, _ := os.ReadFile(name)
	return b[max(0, len(b)-n):]
}

// env returns an environment with a temporary folder of the server's own: a server that starts removes all #sql… files from that folder, even
// those that another server has open.
func env(dir string) []string { return append(os.Environ(), "TMPDIR="+dir) }

// Dump returns the rows of each query as text: one line for each row, its values separated by a space, and a line "--" after each query. NULL
// reads "-".
func Dump(t testing.TB, db *sql.DB, queries ...string) string {
	t.Helper()
	var out strings.Builder
	for _, q := range queries {
		if err := dump(t.Context(), &out, db, q); err != nil {
			t.Fatal(err)
		}
		out.WriteString("--\n")
	}
	return out.String()
}

func dump(ctx context.Context, out *strings.Builder, db *sql.DB, query string) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	for rows.Next() {
		values := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, v := range values {
			if i > 0 {
				out.WriteByte(' ')
			}
			if !v.Valid {
				v.String = "-"
			}
			out.WriteString(v.String)
		}
		out.WriteByte('\n')
	}
	return rows.Err()
}

// Corrupt runs statements with the tables' CHECKs off: they do what no code of the service can do, but a person, a disk or a bug may. Each must
// change something.
func Corrupt(t testing.TB, db *sql.DB, statements ...string) {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.ExecContext(t.Context(), "SET SESSION check_constraint_checks = 0"); err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		result, err := conn.ExecContext(t.Context(), s)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			t.Fatalf("%s: changed nothing (%v)", s, err)
		}
	}
	if _, err := conn.ExecContext(t.Context(), "SET SESSION check_constraint_checks = 1"); err != nil {
		t.Fatal(err)
	}
}
