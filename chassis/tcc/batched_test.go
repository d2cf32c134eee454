package tcc_test

import (
	"sync"
	"sync/atomic"
	"testing"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/batch"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/tcc"
)

type item = batch.Item[tcc.Of[struct{}]]

// batchedTry returns the call of a batched Try that is done by work.
func batchedTry(t *testing.T, p *tcc.Participant, keys mac.Keys, work batch.Work[tcc.Of[struct{}]]) func(gid string) (ran bool, err error) {
	t.Helper()
	b := tcc.NewBatched(p, tcc.Try, func() batch.Work[tcc.Of[struct{}]] { return work }, func(err error) error { return err })
	return func(gid string) (bool, error) {
		call := tcc.Call{GID: gid, Branch: "02", Phase: tcc.Try, Service: "x.Service", Subject: "subject"}
		return b.Run(tcc.LocalContext(t.Context(), call.Service, nil, call.Headers(keys)), call.Subject, struct{}{})
	}
}

// TestSameCallInOneBatch: what refuses a call refuses its repetitions, which come while it is made.
func TestSameCallInOneBatch(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, barrier)
	keys, err := mac.Parse("k1:00112233445566778899aabbccddeeff")
	require.NoError(t, err)
	begun, others := make(chan struct{}), make(chan struct{})
	var decided atomic.Int64 // about calls of "again"
	try := batchedTry(t, tcc.NewParticipant(t.Name(), db, keys), keys, batch.Work[tcc.Of[struct{}]]{
		Read: func([]*item) []batch.Statement { return nil },
		Write: func(items []*item) ([]batch.Statement, error) {
			if len(items) > 0 && items[0].Request.GID == "first" {
				close(begun)
				<-others
			}
			if len(items) > 0 && items[0].Request.GID == "again" {
				decided.Add(int64(len(items)))
			}
			for _, i := range items {
				i.Refuse(kerrors.Conflict("REFUSED", i.Request.GID))
			}
			return nil, nil
		},
	})
	var calls sync.WaitGroup
	call := func(gid string) {
		calls.Go(func() {
			ran, err := try(gid)
			assert.False(t, ran)
			assert.Equal(t, "REFUSED", kerrors.Reason(err), "%s: %v", gid, err)
		})
	}
	call("first")
	<-begun
	for range 20 {
		call("again")
	}
	close(others)
	calls.Wait()
	assert.Less(t, decided.Load(), int64(20), "some shared a batch, in which one is decided about")
	assert.Equal(t, "0\n--\n", mysqltest.Dump(t, db, "SELECT COUNT(*) FROM barrier"))
}

// TestRanIsOfTheLastAttempt: a transaction that fails is repeated; when the call finds its place taken then, it did not run.
func TestRanIsOfTheLastAttempt(t *testing.T) {
	t.Parallel()
	db := mysqltest.Open(t, barrier)
	keys, err := mac.Parse("k1:00112233445566778899aabbccddeeff")
	require.NoError(t, err)
	attempts := 0
	try := batchedTry(t, tcc.NewParticipant(t.Name(), db, keys), keys, batch.Work[tcc.Of[struct{}]]{
		Read: func([]*item) []batch.Statement {
			if attempts++; attempts == 2 { // somebody else took it meanwhile
				_, err := db.ExecContext(t.Context(), `INSERT INTO barrier (trans_type, gid, branch_id, op, barrier_id, reason)
					VALUES ('tcc', 'gid', '02', 'try', '01', 'cancel')`)
				assert.NoError(t, err)
			}
			return nil
		},
		Write: func(items []*item) (fails []batch.Statement, err error) {
			if len(items) > 0 {
				fails = append(fails, batch.Change("SIGNAL SQLSTATE '23000' SET MYSQL_ERRNO = 1062"))
			}
			return fails, nil
		},
	})
	ran, err := try("gid")
	require.NoError(t, err)
	assert.Equal(t, 2, attempts)
	assert.False(t, ran)
}
