package checkout_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/order/internal/checkout"
	"example.com/fourfold/order/internal/mysql"
)

// TestSweepOfSilentDatabase tests that a database that accepts connections and never answers holds the sweeper no longer than its patience, and
// that the sweeper tries again.
func TestSweepOfSilentDatabase(t *testing.T) {
	t.Parallel()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = lis.Close() }()
	var connections atomic.Int64
	go func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			defer func() { _ = conn.Close() }()
			connections.Add(1)
		}
	}()
	db, err := database.Open(database.Config{DSN: "root@tcp(" + lis.Addr().String() + ")/x"})
	require.NoError(t, err)
	defer func() { _ = db.Close() }()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		outbox := mqtest.Absent(t, db, "order")
		_ = checkout.NewSweeper(mysql.NewStore(db, outbox), nil, alert.New(outbox, db, "order"),
			checkout.SweepTimes{Every: 10 * time.Millisecond}).Run(ctx)
	}()
	require.Eventually(t, func() bool { return connections.Load() > 1 }, 8*time.Second, 50*time.Millisecond)
	stop()
	<-ended
}
