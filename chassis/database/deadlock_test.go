package database_test

import (
	"database/sql"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
)

// TestDeadlocksAreRepeated: transactions that lock the same rows in every order all come through, each once.
func TestDeadlocksAreRepeated(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, fstest.MapFS{"0001_t.sql": {Data: []byte(
		"-- +goose Up\nCREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL);\nINSERT INTO t VALUES (0, 0), (1, 0), (2, 0), (3, 0);")}})
	const workers, rounds = 6, 40
	var wg sync.WaitGroup
	var victims atomic.Int64
	for w := range workers {
		wg.Go(func() {
			for range rounds {
				times := int64(0)
				err := database.InTx(t.Context(), db, func(tx *sql.Tx) error {
					times++
					for i := range 4 {
						id := (w + i*(1+2*(w%2))) % 4 // upwards or downwards, from each row
						if _, err := tx.ExecContext(t.Context(), "UPDATE t SET n = n + 1 WHERE id = ?", id); err != nil {
							return err
						}
					}
					return nil
				})
				victims.Add(times - 1)
				if !assert.NoError(t, err) {
					return
				}
			}
		})
	}
	wg.Wait()
	require.Positive(t, victims.Load(), "there were deadlocks")
	assert.Equal(t, "240\n240\n240\n240\n--\n", mysqltest.Dump(t, db, "SELECT n FROM t ORDER BY id"))
	t.Logf("%d of %d transactions were run again", victims.Load(), workers*rounds)
}
