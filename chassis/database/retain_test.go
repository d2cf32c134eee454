package database_test

import (
	"context"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
)

// TestRetain deletes what is old, in more than one batch, and nothing that is young.
func TestRetain(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, fstest.MapFS{"0001_t.sql": {Data: []byte(
		"-- +goose Up\nCREATE TABLE t (id BIGINT AUTO_INCREMENT PRIMARY KEY, at DATETIME NOT NULL, KEY at (at));")}})
	for range 2500 {
		_, err := db.ExecContext(t.Context(), "INSERT INTO t (at) VALUES (TIMESTAMPADD(DAY, -31, NOW()))")
		require.NoError(t, err)
	}
	_, err := db.ExecContext(t.Context(), "INSERT INTO t (at) VALUES (TIMESTAMPADD(DAY, -29, NOW())), (NOW())")
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- database.Retain(db,
			database.Retention{Table: "t", Column: "at"}, // 0 keeps for ever
			database.Retention{Table: "t", Column: "at", Keep: 30 * 24 * time.Hour})(ctx)
	}()
	require.Eventually(t, func() bool {
		return mysqltest.Dump(t, db, "SELECT COUNT(*) FROM t") == "2\n--\n"
	}, 20*time.Second, 20*time.Millisecond)
	cancel()
	assert.NoError(t, <-done)
}
