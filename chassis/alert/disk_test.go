package alert_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	alertv1 "example.com/fourfold/api/alert/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq/mqtest"
)

// disk is a transport with a disk.
type disk struct {
	mqtest.Away
	used float64
	err  error
}

func (d disk) DiskUsed(context.Context) (float64, error) { return d.used, d.err }

// TestWatchDisk: operators are told when the broker's disk is tight, once by two instances, however the disk moves around the mark; a broker
// that does not answer ends nothing; and it is told anew when it was over in between.
func TestWatchDisk(t *testing.T) {
	t.Parallel()
	db, of := open(t)
	const tight, full = 0.80, 0.90
	away := errors.New("away")
	for _, step := range []struct {
		disk
		told int // so far
		open bool
	}{
		{disk{used: 0.31}, 0, false},
		{disk{used: 0.79}, 0, false},
		{disk{used: 0.80}, 1, true},
		{disk{used: 0.85}, 1, true},
		{disk{used: 0.79}, 1, true},
		{disk{used: 0.80}, 1, true},
		{disk{err: away}, 1, true},
		{disk{used: 0.95}, 1, true},
		{disk{used: 0.70}, 1, false},
		{disk{err: away}, 1, false},
		{disk{used: 1}, 2, true},
	} {
		for _, a := range of {
			require.ErrorIs(t, a.LookAtDisk(t.Context(), step.disk, tight, full), step.err)
		}
		lasting := mysqltest.Dump(t, db, "SELECT COUNT(*) FROM alert WHERE name = 'broker-disk' AND cleared_at IS NULL")
		require.Equal(t, step.open, lasting == "1\n--\n", "%+v", step)
		require.Len(t, told(t, db), step.told, "%+v", step)
	}
	assert.Equal(t, []string{"broker-disk 1 the message broker's disk is 80 % full; beyond 90 % it takes nothing",
		"broker-disk 1 the message broker's disk is 100 % full; beyond 90 % it takes nothing"}, told(t, db))
	detail := mqtest.Outbox[alertv1.Raised](t, db, alertv1.Topic)[0].Data.GetDetail()
	for _, part := range []string{"80 %", "90 %", "Make room", "mq_broker_disk_ratio at /metrics of order"} {
		assert.Contains(t, detail, part)
	}
}

// TestWatchDiskBegins: the first look is at once.
func TestWatchDiskBegins(t *testing.T) {
	t.Parallel()
	db, of := open(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- of[0].WatchDisk(disk{used: 0.9}, 0.80, 0.90)(ctx) }()
	t.Cleanup(func() { cancel(); assert.NoError(t, <-done) })
	require.Eventually(t, func() bool { return len(told(t, db)) == 1 }, 25*time.Second, 10*time.Millisecond)
}
