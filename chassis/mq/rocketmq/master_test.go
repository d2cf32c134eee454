package rocketmq_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/rocketmq"
	"example.com/fourfold/chassis/mq/rocketmq/remoting"
	"example.com/fourfold/chassis/mq/rocketmq/remoting/remotingtest"
)

// TestAnotherMaster: when another broker has become the master, events and half messages go there at once, not when the client asks for its
// address again, half a minute later.
func TestAnotherMaster(t *testing.T) {
	t.Parallel()
	const notAvailable = 14 // what a replica answers
	var master atomic.Int64
	brokers := make([]string, 2)
	for i := range brokers {
		brokers[i] = remotingtest.Serve(t, func(int, map[string]string) (int, string) {
			if int64(i) != master.Load() {
				return notAvailable, ""
			}
			return 0, ""
		})
	}
	names := remotingtest.Serve(t, func(request int, _ map[string]string) (int, string) {
		addr := brokers[master.Load()]
		if request == remoting.BrokerClusterInfo {
			return 0, fmt.Sprintf(`{"brokerAddrTable":{"a":{"brokerAddrs":{0:%q}}}}`, addr)
		}
		return 0, fmt.Sprintf(`{"brokerDatas":[{"brokerAddrs":{0:%q},"brokerName":"a","cluster":"c"}],
			"queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":1,"writeQueueNums":1,"topicSysFlag":0}]}`, addr)
	})
	b, err := rocketmq.Dial("master", rocketmq.Config{NameServers: names})
	require.NoError(t, err)
	t.Cleanup(b.Close)
	halves := b.Transactions(func(string, string, time.Time) mq.Verdict { return mq.Unknown })
	ways := map[string]func() error{
		"send": func() error { return b.Send(t.Context(), "topic", mqlaws.New("s", 1), time.Time{}) },
		"half": func() error {
			return halves.Half(t.Context(), "topic", mqlaws.New("s", 1), time.Now(), func() mq.Verdict { return mq.Commit })
		},
	}
	for way, send := range ways {
		require.NoError(t, send(), way)
	}
	for range 2 { // there, and back
		master.Store(1 - master.Load())
		for way, send := range ways {
			assert.Eventually(t, func() bool { return send() == nil }, 5*time.Second, 50*time.Millisecond, way)
		}
	}
}
