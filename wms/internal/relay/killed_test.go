package relay_test

import (
	"context"
	"database/sql"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/failpoint"
	chassis "example.com/fourfold/chassis/mysql"
	"example.com/fourfold/chassis/mysql/mysqltest"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/wms/internal/mysql"
	"example.com/fourfold/wms/internal/relay"
	"example.com/fourfold/wms/migrations"
)

// TestMain runs the tests, or, started with RELAY_DSN, one relay that kills itself at RELAY_POINT.
func TestMain(m *testing.M) {
	if os.Getenv("RELAY_DSN") == "" {
		mysqltest.Main(m)
	}
	db, err := chassis.Open(chassis.Config{DSN: os.Getenv("RELAY_DSN")})
	must(err)
	conn, err := service.Dial(os.Getenv("RELAY_TO"))
	must(err)
	k, err := tcc.ParseKeys(keyText)
	must(err)
	failpoint.Allow()
	must(failpoint.Set(os.Getenv("RELAY_POINT"), "crash"))
	must(relay.New(mysql.NewStore(db), relay.ToOrder(conn, k), times).Run(context.Background()))
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func open(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := chassis.Open(chassis.Config{DSN: dsn})
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	require.NoError(t, chassis.Migrate(t.Context(), db, migrations.FS))
	return db
}

// TestKilledBetweenCallAndMark: a relay process is killed with SIGKILL when order has taken the event and the row does not say so.
// Another sends the same event again when the lease is over, then the next; nothing is lost and nothing overtakes.
func TestKilledBetweenCallAndMark(t *testing.T) {
	t.Parallel()
	dsn := mysqltest.DSN(t)
	db := open(t, dsn)
	r := newReceiver(t)
	orders := ship(t, db, 1)

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for range 2 { // and again at the same event
		child := exec.CommandContext(ctx, os.Args[0])
		child.Env = append(os.Environ(), "RELAY_DSN="+dsn, "RELAY_TO="+r.addr, "RELAY_POINT=relay/sent")
		child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		runtime.LockOSThread() // that signal comes when the thread ends that started the child
		out, err := child.CombinedOutput()
		runtime.UnlockOSThread()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, "%s", out)
		require.NoError(t, ctx.Err(), "it does not come to sending: %s", out)
		require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal(), "%s", out)
	}
	first := r.arrivals("")
	require.Len(t, first, 2)
	require.Equal(t, first[0].id, first[1].id)
	require.GreaterOrEqual(t, first[1].at.Sub(first[0].at), times.Lease/2, "the lease of the dead")
	require.Equal(t, 2, pending(t, db))

	start(t, db, r.addr, times)
	awaitEmpty(t, db, 10*time.Second)
	came := r.arrivals("")
	require.Len(t, came, 4)
	require.Equal(t, []int64{1, 1, 1, 2}, []int64{came[0].seq, came[1].seq, came[2].seq, came[3].seq})
	require.Equal(t, came[0].id, came[2].id, "the same event")
	require.True(t, r.tookAll(2, orders...))
	r.requireRight(t)
}
