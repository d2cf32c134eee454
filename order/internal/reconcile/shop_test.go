package reconcile_test

import (
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/ledger"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/mtls"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/service/servicetest"
	"example.com/fourfold/chassis/tied"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/participant"
	"example.com/fourfold/order/internal/reconcile"
	"example.com/fourfold/order/migrations"
)

func TestMain(m *testing.M) {
	code := func() int {
		dir, err := os.MkdirTemp("", "fourfold-conserve-")
		if err != nil {
			panic(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		programs.dir = dir
		return m.Run()
	}()
	mysqltest.Stop()
	os.Exit(code)
}

const branchKeys = "k1:00112233445566778899aabbccddeeff"

// shop is order's database in this process, and the other three services as processes of their own, each with its database. All databases are on
// one server, so that a test can fill them together.
type shop struct {
	order, inventory, credit, wms *sql.DB
	// name is the name of order's database.
	name  string
	store *mysql.Store
	keys  mac.Keys
	peers map[string]*process
}

// process is a running service.
type process struct {
	cmd  *exec.Cmd
	conn *grpc.ClientConn
	// name is the name of its database.
	name string
	db   *sql.DB
}

// openShop starts a shop without orders.
func openShop(t testing.TB) *shop {
	t.Helper()
	keys, err := mac.Parse(branchKeys)
	require.NoError(t, err)
	s := &shop{order: mysqltest.Open(t, migrations.FS, mq.Tables(), alert.Tables()), keys: keys, peers: map[string]*process{}}
	s.store = mysql.NewStore(s.order, mqtest.Absent(t, s.order, "order"))
	identity, _ := servicetest.Keys(t)
	for _, name := range []string{"inventory", "credit", "wms"} {
		s.peers[name] = start(t, name, identity)
	}
	require.NoError(t, s.order.QueryRowContext(t.Context(), "SELECT DATABASE()").Scan(&s.name))
	s.inventory, s.credit, s.wms = s.peers["inventory"].db, s.peers["credit"].db, s.peers["wms"].db
	return s
}

// comparator returns a Comparator of this shop's books.
func (s *shop) comparator() *reconcile.Comparator {
	return s.compared(s.ledger("inventory"), s.ledger("credit"), s.ledger("wms"))
}

// compared returns a Comparator with these ledgers of the services that the shop runs.
func (s *shop) compared(inventory, credit, wms ledger.Ledger) *reconcile.Comparator {
	var peers []reconcile.Peer
	for _, p := range participant.All() {
		if l := map[string]ledger.Ledger{"inventory": inventory, "credit": credit, "wms": wms}[p.Name]; l != nil {
			peers = append(peers, reconcile.Peer{Participant: p, Ledger: l})
		}
	}
	return reconcile.New(s.store, peers...)
}

func (s *shop) ledger(name string) ledger.Ledger { return ledger.NewClient(s.keys, s.peers[name].conn) }

// start runs the service called name until the test ends, and waits until it answers.
func start(t testing.TB, name, identity string) *process {
	t.Helper()
	cfg := mysqltest.Config(t)
	db, err := database.Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	addr := servicetest.FreeAddr(t)
	env := map[string]string{"inventory": "INVENTORY", "credit": "CREDIT", "wms": "WMS"}[name]
	cmd := exec.Command(programs.build(t, name))
	cmd.Env = append(os.Environ(), env+"_LISTEN="+addr, env+"_ADMIN_LISTEN=127.0.0.1:0", env+"_DSN="+cfg.DSN, env+"_MIGRATE_DSN="+cfg.MigrateDSN,
		"BRANCH_KEYS="+branchKeys, "IDENTITY_KEYS="+identity, "LOG_LEVEL=error",
		"MQ_NAME_SERVERS=127.0.0.1:1", "QUEUES_ADDR=127.0.0.1:1", "MQ_KEYS="+mqtest.KeyText) // no broker: the books do not depend on messages
	cmd.Stderr = os.Stderr
	require.NoError(t, tied.Start(cmd))
	p := &process{cmd: cmd, db: db}
	t.Cleanup(p.kill)
	p.conn, err = service.Dial(addr, mtls.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.conn.Close() })
	keys, err := mac.Parse(branchKeys)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err := ledger.NewClient(keys, p.conn).Digest(t.Context())
		return err == nil
	}, 30*time.Second, 20*time.Millisecond, "%s serves", name)
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT DATABASE()").Scan(&p.name))
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// programs builds each service once.
var programs = builds{once: map[string]func() error{}}

type builds struct {
	mu   sync.Mutex
	dir  string
	once map[string]func() error
}

func (b *builds) build(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(b.dir, name)
	b.mu.Lock()
	if b.once[name] == nil {
		b.once[name] = sync.OnceValue(func() error {
			cmd := exec.Command("go", "build", "-buildvcs=false", "-o", path, ".")
			cmd.Dir = filepath.Join("..", "..", "..", name)
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("build %s: %w\n%s", name, err, out)
			}
			return nil
		})
	}
	once := b.once[name]
	b.mu.Unlock()
	require.NoError(t, once())
	return path
}
