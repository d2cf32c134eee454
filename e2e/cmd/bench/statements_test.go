package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestSplit(t *testing.T) {
	t.Parallel()
	assert.Equal(t, []string{"BEGIN", `SELECT 'a;b\';', "c;""d"`, "COMMIT"}, split("BEGIN;\nSELECT 'a;b\\';', \"c;\"\"d\";\nCOMMIT;"))
	assert.Empty(t, split(" ; "))
}

func TestDigest(t *testing.T) {
	t.Parallel()
	for statement, want := range map[string]string{
		"SELECT a FROM t1 WHERE id IN ('x','y''z') AND n = 12":          "SELECT a FROM t1 WHERE id IN (…) AND n = ?",
		"INSERT INTO t (a, b) VALUES ('x', 1),\n (_binary'\\'', -2)":    "INSERT INTO t (a, b) VALUES (…)",
		"-- name: Get :one\nSELECT a FROM t WHERE b = 'c -- d' LIMIT 1": "SELECT a FROM t WHERE b = ? LIMIT ?",
	} {
		assert.Equal(t, want, digest(statement))
	}
}

func TestTablesOf(t *testing.T) {
	t.Parallel()
	assert.Equal(t, map[string]string{"orders": "orders", "o": "orders", "payment_attempt": "payment_attempt", "a": "payment_attempt"},
		tablesOf("SELECT o.id FROM payment_attempt a JOIN orders AS o ON o.id = a.order_id WHERE a.x = 'FROM z y'"))
	assert.Equal(t, map[string]string{"orders": "orders"}, tablesOf("UPDATE orders FORCE INDEX (PRIMARY) SET status = 'x'"))
}

func TestWrongPlans(t *testing.T) {
	t.Parallel()
	keys := map[[2]string]map[string]string{{"shop_order", "orders"}: {"PRIMARY": "id"}}
	for _, c := range []struct {
		statement, table, access, key string
		rows                          int
		want                          string
	}{
		{"SELECT 1 FROM orders WHERE id IN (1)", "orders", "range", "PRIMARY", 64, ""},
		{"SELECT 1 FROM orders", "orders", "ALL", "", few + 1, "reads the table through"},
		{"SELECT 1 FROM orders", "orders", "index", "status", few + 1, "reads the table through"},
		{"SELECT 1 FROM warehouse", "warehouse", "ALL", "", 1, ""},
		{"SELECT 1 FROM orders WHERE status = 'PAID'", "orders", "ref", "status", many + 1, "is led to many rows"},
		{"UPDATE orders SET status = 'PAID' WHERE id = 1", "orders", "range", "PRIMARY", 1, ""},
		{"UPDATE orders SET status = 'PAID' WHERE id = 1 AND status = 'UPDATING'", "orders", "range", "status", 1,
			"changes rows that it does not find by their key"},
		{"UPDATE orders SET status = 'PAID' WHERE member_id = 1", "orders", "ref", "of_member", 1, ""},
		{"UPDATE alert SET a = 1 WHERE EXISTS (SELECT 1 FROM orders WHERE id = 1)", "orders", "ref", "of_member", 1, ""},
	} {
		p := plan{said: said{"shop_order", c.statement}, table: c.table, access: c.access, key: c.key, rows: c.rows}
		assert.Equal(t, c.want, p.wrong(keys), c.statement)
	}
}
