package rocketmq_test

import (
	"errors"
	"fmt"
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

// TestAnswers: whatever the broker answers, it has taken an event or a half message only if it says that it is on its disk; and only the answer
// that it is not valid is ErrRefused, which the relay takes for a fault of this event. Everything else passes by itself: a full disk
// (SERVICE_NOT_AVAILABLE, 14, or SYSTEM_ERROR, 1), a slow one (10), a busy broker (2, 215), a topic that is not made yet (17).
func TestAnswers(t *testing.T) {
	t.Parallel()
	const messageIllegal, flowControl = 13, 215
	b, err := rocketmq.Dial("answers", rocketmq.Config{NameServers: answering(t)})
	require.NoError(t, err)
	t.Cleanup(b.Close)
	halves := b.Transactions(func(string, string, time.Time) mq.Verdict { return mq.Unknown })
	codes := []int{flowControl}
	for code := range 32 { // of ResponseCode.java, and what lies between
		codes = append(codes, code)
	}
	for _, code := range codes {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			topic, called := fmt.Sprintf("answers-%d", code), false
			local := func() mq.Verdict { called = true; return mq.Commit }
			for way, err := range map[string]error{
				"send": b.Send(t.Context(), topic, mqlaws.New("s", 1), time.Time{}),
				"half": halves.Half(t.Context(), topic, mqlaws.New("s", 1), time.Now(), local),
			} {
				if code == 0 {
					assert.NoError(t, err, way)
					continue
				}
				assert.Equal(t, code == messageIllegal, errors.Is(err, mq.ErrRefused), "%s: %v", way, err)
				assert.Equal(t, code != messageIllegal, errors.Is(err, mq.ErrUnavailable), "%s: %v", way, err)
			}
			assert.Equal(t, code == 0, called, "the local transaction")
		})
	}
}

// answering returns the address of a name server, and of the broker that it knows, which answers sends to the topic answers-N with the code N
// and everything else with success.
func answering(t *testing.T) (addr string) {
	addr = remotingtest.Serve(t, func(request int, args map[string]string) (code int, body string) {
		if request == remoting.TopicRoute {
			return 0, fmt.Sprintf(`{"brokerDatas":[{"brokerAddrs":{0:%q},"brokerName":"a","cluster":"c"}],
				"queueDatas":[{"brokerName":"a","perm":6,"readQueueNums":1,"writeQueueNums":1,"topicSysFlag":0}]}`, addr)
		}
		_, _ = fmt.Sscanf(args["topic"], "answers-%d", &code) // stays 0 for other requests
		return code, ""
	})
	return addr
}
