package rocketmq_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/rocketmq"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
)

// TestOutageLeaksNothing: neither consumers that run nor consumers that wait for their topic cost more goroutines the longer the broker and its
// name server are away. When they are back all consume, and those that waited cost as many goroutines as those that did not. The test is alone
// in its process, because it counts goroutines.
func TestOutageLeaksNothing(t *testing.T) {
	t.Parallel()
	const alone = "MQ_ALONE"
	if os.Getenv(alone) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOutageLeaksNothing$", "-test.v")
		cmd.Env = append(os.Environ(), alone+"=1")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "--- PASS: TestOutageLeaksNothing")
		return
	}
	s, err := rocketmqtest.Start()
	require.NoError(t, err)
	t.Cleanup(s.Stop)
	topic, publisher := s.Topic(t), s.Dial(t)
	door := open(t, s.NameServer)
	names, err := rocketmq.ParseNames(door.addr)
	require.NoError(t, err)
	publish := func(id string) error {
		return publisher.Publish(t.Context(), topic, mq.Event{ID: id, Source: "/test", Type: "thing.happened", Subject: "s", Sequence: 1})
	}
	require.NoError(t, publish("first"))

	idle := level(0)
	early := begin(t, names, topic, "early")
	early.hear(t, "first")
	early.ready(t)
	each := level(0) - idle

	door.shut()
	s.Kill()
	away := time.Now()
	late := begin(t, names, topic, "late")
	late.wait(t, 10)
	atFirst := level(0)
	late.wait(t, 60)
	require.LessOrEqual(t, level(atFirst+slack), atFirst+slack, "50 tries without a name server: %s", where())

	door.reopen(t)
	late.wait(t, 70)
	atFirst = level(0)
	late.wait(t, 120)
	require.LessOrEqual(t, level(atFirst+slack), atFirst+slack, "50 tries without the topic: %s", where())

	// The client's periodic work runs every 20 s to a minute: after this time all of it has run more than once.
	time.Sleep(time.Until(away.Add(75 * time.Second)))
	require.LessOrEqual(t, level(atFirst+slack), atFirst+slack, "75 s of outage: %s", where())

	require.NoError(t, s.Restart())
	require.Eventually(t, func() bool { return publish("second") == nil }, 2*time.Minute, 100*time.Millisecond)
	late.hear(t, "second")
	late.ready(t)
	early.hear(t, "second")
	require.LessOrEqual(t, level(idle+2*each+slack), idle+2*each+slack, "after the return; before %d, each set %d: %s", idle, each, where())
	t.Logf("idle %d, each set %d, at the end %d", idle, each, len(clients()))
}

// slack allows for connections and queues that come and go. 50 tries that each left a consumer behind would be some two thousand goroutines.
const slack = 30

// set is a few consumers and a reader.
type set struct {
	heard  []sync.Map // by consumer: what it heard
	tries  []atomic.Int64
	reads  atomic.Bool
	failed chan error
}

const consumers = 3

func begin(t *testing.T, names *rocketmq.Names, topic, name string) *set {
	s := &set{heard: make([]sync.Map, consumers), tries: make([]atomic.Int64, consumers+1), failed: make(chan error, consumers+1)}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	for i := range consumers {
		wg.Go(func() {
			id := fmt.Sprintf("%s-%d", name, i)
			c, err := rocketmq.StartPush(ctx, names, topic, id, func(error) { s.tries[i].Add(1) }, func(body string) {
				for _, word := range []string{"first", "second"} {
					if strings.Contains(body, word) {
						s.heard[i].Store(word, true)
					}
				}
			})
			if err == nil {
				<-ctx.Done()
				err = c.Shutdown()
			}
			s.failed <- err
		})
	}
	wg.Go(func() {
		c, queues, err := rocketmq.StartPull(ctx, names, topic, name, func(error) { s.tries[consumers].Add(1) })
		if err == nil {
			s.reads.Store(len(queues) > 0)
			<-ctx.Done()
			err = c.Shutdown()
		}
		s.failed <- err
	})
	return s
}

// wait returns when each consumer has tried n times.
func (s *set) wait(t *testing.T, n int64) {
	t.Helper()
	require.Eventually(t, func() bool {
		for i := range s.tries {
			if s.tries[i].Load() < n {
				return false
			}
		}
		return true
	}, 2*time.Minute, 20*time.Millisecond)
}

func (s *set) hear(t *testing.T, word string) {
	t.Helper()
	require.Eventually(t, func() bool {
		for i := range s.heard {
			if _, ok := s.heard[i].Load(word); !ok {
				return false
			}
		}
		return true
	}, 2*time.Minute, 50*time.Millisecond, "%s is not heard", word)
}

func (s *set) ready(t *testing.T) {
	t.Helper()
	require.Eventually(t, s.reads.Load, 2*time.Minute, 20*time.Millisecond)
}

// level returns the lowest number of the client's goroutines within three seconds, and returns sooner when it is down to enough.
func level(enough int) int {
	low := len(clients())
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end) && low > enough; time.Sleep(50 * time.Millisecond) {
		low = min(low, len(clients()))
	}
	return low
}

// clients returns where each goroutine of the client was started. It leaves out goroutines of the test, of its own server and of whatever else
// runs in the process.
func clients() []string {
	buf := make([]byte, 8<<20)
	var started []string
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if _, by, ok := strings.Cut(stack, "\ncreated by github.com/apache/rocketmq-client-go/v2/"); ok {
			_, line, _ := strings.Cut(by, "\n")
			line, _, _ = strings.Cut(line, " +0x")
			started = append(started, line[strings.LastIndex(line, "/v2@")+1:])
		}
	}
	return started
}

// where returns, for each line of the client, how many of its goroutines it started.
func where() string {
	count := map[string]int{}
	for _, line := range clients() {
		count[line]++
	}
	var b strings.Builder
	for _, line := range slices.Sorted(maps.Keys(count)) {
		fmt.Fprintf(&b, "\n%4d %s", count[line], line[strings.Index(line, "/")+1:])
	}
	return b.String()
}
