package main

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
)

// TestTwoPhases shows what a payment in two phases (XA over four databases, as way (b) makes it) leaves when its coordinator dies and does not
// come back: this one keeps no log, and one that keeps a log ends nothing before it is back. Of a payment by TCC the same places are tested in
// ./e2e, unless another folder is named:
//
//   - between the phases: what Try did is committed (TestTheNumbers reads it there), so no row stays locked, and the same product is paid for
//     meanwhile. The time-out decides, also by the coordinator's next process: checkout/all-tried and what follows in TestInitiatorCrashes, and
//     TestTransactionOutlivesCoordinator in ./deploy/dtm.
//   - half-way through commit: order is confirmed last, so an order that reads PAID has stock, points and slip (TestFirstBranchIsLast in
//     ./deploy/dtm). The Confirms are repeated until all four are: TestParticipantCrashes, and TestSubmitOutlivesItsProcess in ./deploy/dtm.
//   - a person decides: what contradicts a branch that has ended is refused (TestRefusal in ./order/internal/checkout). XA refuses nothing.
func TestTwoPhases(t *testing.T) {
	x := openXA(t)

	t.Run("dies between the phases", func(t *testing.T) {
		first, next := x.order(t, "ann", "tea"), x.order(t, "ben", "tea")
		x.dies(t, first, `XA COMMIT`)
		for _, after := range []string{"its connections are gone", "the database was killed"} {
			require.Len(t, x.inDoubt(t), 4, after)
			assert.Equal(t, "CREATED 0 0 0", x.seen(t, first), after)
			var waited *mysql.MySQLError
			require.ErrorAs(t, x.once(t.Context(), next), &waited, "%s: another member buys the same product", after)
			assert.Equal(t, uint16(1205), waited.Number, "%s: lock wait timeout: %v", after, waited)
			require.NoError(t, x.once(t.Context(), x.order(t, "ben", "milk")), "%s: another product", after)
			x.restart(t)
		}
		x.byHand(t, "XA COMMIT")
		assert.Equal(t, "PAID 1 10 1", x.seen(t, first))
		require.NoError(t, x.once(t.Context(), next), "the rows are free again")
		x.booksAddUp(t)
	})

	t.Run("dies half-way through commit", func(t *testing.T) {
		j := x.order(t, "ann", "tea")
		x.dies(t, j, `XA COMMIT '[^']*','[13]'`) // it has told order and credit, and not inventory and wms
		x.restart(t)
		require.Len(t, x.inDoubt(t), 2, "nobody ends them")
		assert.Equal(t, "PAID 2 20 0", x.seen(t, j), "paid and credited; nothing sold since the last one, and no slip")
		_, err := x.books(t.Context())
		require.Error(t, err)
		x.byHand(t, "XA COMMIT")
		assert.Equal(t, "PAID 3 20 1", x.seen(t, j))
		x.booksAddUp(t)
	})

	t.Run("a person decides wrongly", func(t *testing.T) {
		j := x.order(t, "ann", "tea")
		x.dies(t, j, `XA COMMIT '[^']*','[13]'`)
		x.byHand(t, "XA ROLLBACK")
		assert.Equal(t, "PAID 3 30 0", x.seen(t, j), "for good")
		_, err := x.books(t.Context())
		require.Error(t, err)
	})
}

// xa is a server with the tables of the four services and their copies.
type xa struct {
	*local
	server *mysqltest.Server
}

func openXA(t *testing.T) xa {
	server, err := mysqltest.Start()
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	for service := range copied {
		require.NoError(t, server.Exec(t.Context(), "CREATE DATABASE shop_"+service))
		db, err := database.Open(database.Config{DSN: server.DSN("shop_" + service)})
		require.NoError(t, err)
		require.NoError(t, database.Migrate(t.Context(), db, os.DirFS(filepath.Join("../../..", service, "migrations")), mq.Tables()))
		require.NoError(t, db.Close())
	}
	db := pool(t, server, nil)
	l, err := openLocal(t.Context(), db, []string{"tea", "milk"}, []string{"ann", "ben"})
	require.NoError(t, err)
	return xa{l, server}
}

// pool returns connections of their own, which wait for a locked row for 1 s. A process that says what last matches is dead before it is heard.
func pool(t *testing.T, server *mysqltest.Server, last *regexp.Regexp) *sql.DB {
	cfg, err := mysql.ParseDSN(server.DSN(""))
	require.NoError(t, err)
	cfg.InterpolateParams, cfg.Logger = true, &mysql.NopLogger{}
	cfg.Params = map[string]string{"innodb_lock_wait_timeout": "1"}
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil || last == nil {
			return conn, err
		}
		return mortal{conn, last}, nil
	}
	connector, err := mysql.NewConnector(cfg)
	require.NoError(t, err)
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// mortal is a connection of a process that dies when it is about to send what last matches.
type mortal struct {
	net.Conn
	last *regexp.Regexp
}

var errDead = errors.New("the process is dead")

func (m mortal) Write(b []byte) (int, error) {
	if m.last.Match(b) {
		return 0, errDead // the driver closes the connection, as a process' death does
	}
	return m.Conn.Write(b)
}

// restart kills the database and starts it again.
func (x xa) restart(t *testing.T) {
	t.Helper()
	x.server.Kill()
	require.NoError(t, x.server.Restart())
}

// order adds an order of a member that is to be paid.
func (x xa) order(t *testing.T, member, sku string) job {
	t.Helper()
	jobs, err := x.orders(t.Context(), 1, true)
	require.NoError(t, err)
	jobs[0].member, jobs[0].sku = member, sku
	return jobs[0]
}

// dies pays in two phases by a coordinator that dies before it says what last matches, and returns when its connections are gone.
func (x xa) dies(t *testing.T, j job, last string) {
	t.Helper()
	coordinator := &local{db: pool(t, x.server, regexp.MustCompile(last)), parts: x.parts}
	require.Error(t, coordinator.inTwoPhases(t.Context(), j))
	require.NoError(t, coordinator.db.Close())
	require.Eventually(t, func() bool {
		return mysqltest.Dump(t, x.db, "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'root'") == "1\n--\n"
	}, 10*time.Second, 10*time.Millisecond, "the server notices")
}

// inDoubt returns the xids that are prepared and not ended. That is all that a person is told: not since when, by whom, nor of which order.
func (x xa) inDoubt(t *testing.T) (xids []string) {
	t.Helper()
	rows, err := x.db.QueryContext(t.Context(), "XA RECOVER FORMAT='SQL'")
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var format, global, branch int
		var xid string
		require.NoError(t, rows.Scan(&format, &global, &branch, &xid))
		xids = append(xids, xid)
	}
	require.NoError(t, rows.Err())
	return xids
}

// byHand ends all that is in doubt.
func (x xa) byHand(t *testing.T, decision string) {
	t.Helper()
	for _, xid := range x.inDoubt(t) {
		_, err := x.db.ExecContext(t.Context(), decision+" "+xid)
		require.NoError(t, err)
	}
	assert.Empty(t, x.inDoubt(t))
}

// seen returns what anybody reads: the order's status, how many of its product were sold, the member's points, and the order's slips.
func (x xa) seen(t *testing.T, j job) (row string) {
	t.Helper()
	require.NoError(t, x.db.QueryRowContext(t.Context(), `SELECT CONCAT_WS(' ', o.status, s.sold, c.credit,
			(SELECT COUNT(*) FROM bench_wms.delivery_slip d WHERE d.order_id = o.id))
		FROM bench_order.orders o, bench_inventory.stock s, bench_credit.credit_account c
		WHERE o.id = ? AND s.sku = ? AND c.member_id = ?`, j.order, j.sku, j.member).Scan(&row))
	return row
}

// booksAddUp checks that each payment changed all four databases.
func (x xa) booksAddUp(t *testing.T) {
	t.Helper()
	_, err := x.books(t.Context())
	require.NoError(t, err)
}
