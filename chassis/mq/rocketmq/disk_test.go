package rocketmq_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/mq/rocketmq"
	"example.com/fourfold/chassis/mq/rocketmq/remoting"
	"example.com/fourfold/chassis/mq/rocketmq/remoting/remotingtest"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
	"example.com/fourfold/deploy/rocketmq/smalldisk"
)

// TestDiskFull: the broker's disk becomes full while no consumer of a group runs. The broker refuses, and deletes nothing that nobody has read;
// who reads goes on, what is published waits in the outbox, and a half message stays one. When there is room, everything comes, once.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	disk := smalldisk.Mount(t, 200)
	// The first look at the disk is a minute after the start; nothing sets that.
	server, err := rocketmqtest.Start("storePathRootDir="+disk.Dir+"/store", "mappedFileSizeCommitLog=1048576", "cleanResourceInterval=500")
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	s := newStage(t, server)
	broker := server.Broker(t, s.service)
	b := mq.NewBus(s.service, broker, mq.Config{Keys: mqtest.Keys()})
	o := mq.NewOutbox(s.db, b, mq.OutboxConfig{Grace: 20 * time.Second, LongestTx: 2 * time.Minute, Poll: 50 * time.Millisecond})
	background(t, o.Relay)
	background(t, o.Answer(s.topic))
	said := func(text string) {
		t.Helper()
		require.Eventually(t, func() bool { yes, err := server.Said(text); return err == nil && yes }, 2*time.Minute, 50*time.Millisecond, text)
	}
	used := func() float64 {
		ratio, err := broker.DiskUsed(t.Context())
		require.NoError(t, err)
		return ratio
	}
	publish := func(subject string, size int) {
		filler := make([]byte, size)
		_, _ = rand.Read(filler) // the client compresses what it can
		require.NoError(t, o.InTx(t.Context(), func(tx *sql.Tx) error {
			e := mqlaws.New(subject, 1)
			e.Data = fmt.Appendf(nil, `{"filler":"%x"}`, filler)
			return errors.Join(fact(t.Context(), tx, subject), o.Append(t.Context(), tx, s.topic, e))
		}))
	}

	const before, during = 100, 20
	for n := range before {
		publish(fmt.Sprintf("before-%d", n), 50_000)
	}
	mqlaws.AwaitCount(t, s.db, before, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'SENT'")
	log, err := filepath.Glob(disk.Dir + "/store/commitlog/*")
	require.NoError(t, err)
	require.Greater(t, len(log), 5, "the broker never deletes the last file")
	assert.Less(t, used(), remoting.Tight)
	require.NoError(t, disk.Fill(0.93))
	assert.Greater(t, used(), remoting.Full)
	// A half message that the broker has taken when it begins to refuse; its local transaction commits after that.
	half, commit := make(chan error, 1), make(chan struct{})
	go func() {
		half <- o.PublishInTx(t.Context(), s.topic, anonymous("half"), func(tx *sql.Tx) error {
			select {
			case <-commit:
			case <-t.Context().Done():
			}
			return fact(t.Context(), tx, "half")
		})
	}()
	said("so mark disk full")
	close(commit)
	require.NoError(t, <-half)

	err = b.Publish(t.Context(), s.topic, mqlaws.New("refused", 1))
	require.ErrorIs(t, err, mq.ErrUnavailable)
	require.NotErrorIs(t, err, mq.ErrRefused)
	require.ErrorContains(t, err, "CODE: 14")
	for n := range during {
		publish(fmt.Sprintf("during-%d", n), 10)
	}
	require.NoError(t, o.PublishInTx(t.Context(), s.topic, anonymous("in-tx"), func(tx *sql.Tx) error { return fact(t.Context(), tx, "in-tx") }))
	mqlaws.AwaitCount(t, s.db, during+1, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'READY' AND tries > 1 AND last_error <> ''")
	said("disk space will be full soon, but delete file failed")
	kept, err := filepath.Glob(disk.Dir + "/store/commitlog/*")
	require.NoError(t, err)
	require.Subset(t, kept, log)

	reader := group(s.topic)
	reader.Group += "-reader"
	background(t, func(ctx context.Context) error { return b.Consume(ctx, s.db, reader, mqlaws.Effect("reader")) })
	mqlaws.AwaitCount(t, s.db, before, "SELECT COUNT(*) FROM effect WHERE grp = 'reader'")

	require.NoError(t, disk.Empty())
	s.consume(t, b)
	mqlaws.AwaitCount(t, s.db, before+during+2, "SELECT COUNT(*) FROM effect WHERE grp = 'a'")
	mqlaws.AwaitCount(t, s.db, before+during+2, "SELECT COUNT(*) FROM effect WHERE grp = 'reader'")
	mqlaws.Settled(t, s.db)
	assert.Less(t, used(), remoting.Tight)
}

// TestDiskUsed: of several brokers the fullest disk counts; one that does not say how full it is, and a name server that knows none, are
// ErrUnavailable; a name server that is away does not matter while another answers.
func TestDiskUsed(t *testing.T) {
	t.Parallel()
	broker := func(used string) string {
		return remotingtest.Serve(t, func(int, map[string]string) (int, string) {
			return 0, fmt.Sprintf(`{"table":{"commitLogDiskRatio":%q}}`, used)
		})
	}
	empty, fuller, silent := broker("0.3"), broker("0.5"), broker("")
	for _, test := range []struct {
		brokers []string
		used    float64
		ok      bool
	}{
		{[]string{empty, fuller}, 0.5, true},
		{[]string{fuller, empty}, 0.5, true},
		{[]string{empty, silent}, 0, false},
		{[]string{empty, "127.0.0.1:1"}, 0, false},
		{nil, 0, false},
	} {
		names := remotingtest.Serve(t, func(int, map[string]string) (int, string) {
			table := map[string]any{}
			for i, addr := range test.brokers {
				table[fmt.Sprint(i)] = map[string]any{"brokerAddrs": map[string]string{"0": addr}}
			}
			body, err := json.Marshal(map[string]any{"brokerAddrTable": table})
			assert.NoError(t, err)
			return 0, string(body)
		})
		b, err := rocketmq.Dial("disks", rocketmq.Config{NameServers: "127.0.0.1:1," + names})
		require.NoError(t, err)
		t.Cleanup(b.Close)
		used, err := b.DiskUsed(t.Context())
		assert.Equal(t, test.used, used)
		if test.ok {
			assert.NoError(t, err)
		} else {
			assert.ErrorIs(t, err, mq.ErrUnavailable)
		}
	}
}
