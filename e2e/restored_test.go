package e2e_test

import (
	"database/sql"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// databaseRestored: a service whose database was restored from a backup counts from older numbers, which those who follow have seen. In a new
// generation they follow it again: order's copy of a price, which keeps the newest, and its deliveries, which are in strict order.
func databaseRestored(t *testing.T) {
	sku, c := product(t, 500, 100), shopper(t)
	price := func(cents int) {
		t.Helper()
		operator.must(t, 200, "PUT", "/v1/ops/products/"+sku, map[string]any{"price_cents": cents})
	}
	follows := func(want string) {
		t.Helper()
		got := []string{""}
		require.Eventually(t, func() bool {
			got[0] = one(t, db(t, "shop_order"), "SELECT CONCAT_WS(' ', price_cents, version, NULLIF(generation, '')) FROM product WHERE sku = ?", sku)
			return got[0] == want
		}, patience, 20*time.Millisecond, "order's copy: %v, not %s", got, want)
	}
	follows("500 1")
	restore := backUp(t, "inventory", "product", "mq_outbox")
	price(600)
	price(700)
	follows("700 3")
	restore()
	generation := newGeneration(t, "inventory")
	price(800)
	follows("800 1 " + generation)

	id := paid(t, c, sku)
	restore = backUp(t, "wms", "delivery_slip", "delivery_line", "mq_outbox")
	ship(t, id)
	c.settled(t, id, "SHIPPED")
	restore()
	generation = newGeneration(t, "wms")
	ship(t, id)
	operator.must(t, 200, "POST", "/v1/ops/deliveries/"+delivery(t, id)+"/deliver", nil)
	c.settled(t, id, "COMPLETED")
	require.Equal(t, "1 DONE,2 DONE", one(t, db(t, "shop_order"), `SELECT GROUP_CONCAT(seq, ' ', state ORDER BY seq) FROM mq_inbox
		WHERE grp = 'order-deliveries' AND generation = ?`, generation))
	requireEffects(t, registration)
}

// backUp copies tables of a service's database, and returns what stops the service and puts the rows back.
func backUp(t *testing.T, service string, tables ...string) (restore func()) {
	t.Helper()
	exec := func(statement string) {
		t.Helper()
		_, err := open(t, shared.OwnerDSN("shop_"+service)).ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	for _, table := range tables {
		exec(fmt.Sprintf("CREATE TABLE %[1]s_then AS SELECT * FROM %[1]s", table))
	}
	return func() {
		t.Helper()
		require.NoError(t, shared.Stop(t.Context(), service))
		for _, table := range tables {
			columns := one(t, open(t, shared.DSN("shop_"+service)), `SELECT GROUP_CONCAT(column_name) FROM information_schema.columns
				WHERE table_schema = DATABASE() AND table_name = ? AND generation_expression IS NULL`, table)
			exec("DELETE FROM " + table)
			exec(fmt.Sprintf("INSERT INTO %[1]s (%[2]s) SELECT %[2]s FROM %[1]s_then", table, columns))
			exec(fmt.Sprintf("DROP TABLE %s_then", table))
		}
	}
}

// newGeneration begins a new generation of a service's events, which starts the service, and returns its id.
func newGeneration(t *testing.T, service string) string {
	t.Helper()
	leave(t, shared.DSN("shop_"+service))
	said, ok := makes(t, "make generation SERVICE="+service+" NEW=1")
	require.True(t, ok, said)
	require.NoError(t, shared.WaitHealthy(t.Context(), service, "gateway"))
	id := regexp.MustCompile(`(?m)^  ` + service + ` numbers its events in generation  (\S+)$`).FindStringSubmatch(said)
	require.Len(t, id, 2, said)
	return id[1]
}

// leave closes this process's connections to a database.
func leave(t *testing.T, dsn string) {
	t.Helper()
	if d, ok := pools.LoadAndDelete(dsn); ok {
		require.NoError(t, d.(*sql.DB).Close())
	}
}
