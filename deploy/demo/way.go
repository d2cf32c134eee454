package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// way looks on at the way that events go: the switch in the Redis for queues, and what goes by its queues. It changes nothing there. What the
// keys hold is in chassis/mq/redis.
type way struct{ rdb *goredis.Client }

func openWay(addr string) way {
	logging.Disable() // the client would log what its calls return
	return way{goredis.NewClient(&goredis.Options{Addr: addr, DisableIdentity: true})}
}

// change is one change of the mode, by Redis' clock.
type change struct {
	At       time.Time
	From, To string
	By, Why  string
}

// The modes in which events go by the broker, and by Redis.
const (
	byBroker = "NORMAL"
	byRedis  = "DEGRADED"
)

// mode returns the mode, and what an operator wants it to be, "" for nothing.
func (v way) mode(ctx context.Context) (mode, force string, err error) {
	f, err := v.rdb.HMGet(ctx, "mq:switch", "mode", "force").Result()
	if err != nil {
		return "", "", fmt.Errorf("ask for the mode: %w: `make logs SERVICE=queues` says why", err)
	}
	mode, _ = f[0].(string)
	force, _ = f[1].(string)
	return mode, force, nil
}

// changes returns the changes of the mode since then, oldest first.
func (v way) changes(ctx context.Context, since time.Time) (all []change, err error) {
	lines, err := v.rdb.LRange(ctx, "mq:history", 0, -1).Result()
	for _, line := range slices.Backward(lines) {
		if c, ok := parseChange(line); ok && !c.At.Before(since) {
			all = append(all, c)
		}
	}
	return all, err
}

// parseChange reads a line of the history: "1795966185073 NORMAL -> DEGRADED by order-1-2: why". Lines about something else are not ok.
func parseChange(line string) (c change, ok bool) {
	at, line, _ := strings.Cut(line, " ")
	ms, err := strconv.ParseInt(at, 10, 64)
	c.At = time.UnixMilli(ms)
	c.From, line, _ = strings.Cut(line, " -> ")
	c.To, line, _ = strings.Cut(line, " by ")
	c.By, c.Why, ok = strings.Cut(line, ": ")
	return c, err == nil && ok
}

// await waits until the mode was changed to one after since, and returns all changes from since on. After limit the error says what to do.
func (v way) await(ctx context.Context, to string, since time.Time, limit time.Duration, do string) (all []change, err error) {
	err = within(ctx, limit, func() (bool, error) {
		all, err = v.changes(ctx, since)
		return len(all) > 0 && all[len(all)-1].To == to, err
	})
	if errors.Is(err, errLimit) {
		mode, _, err := v.mode(ctx)
		return nil, errors.Join(fmt.Errorf("the mode is still %s after %s: %s", mode, limit, do), err)
	}
	return all, err
}

// passed is an event that went by Redis.
type passed struct {
	At   time.Time `json:"-"`
	Type string    `json:"type"`
}

// traffic is what was seen of the queues.
type traffic struct {
	mu     sync.Mutex
	events []passed
	most   int64 // in all queues together
	err    error
	end    func()
}

// watch looks on at the queues until traffic.end: at each event, which Redis tells when it takes it, and every 50 ms at how many lie there.
func (v way) watch(ctx context.Context) (*traffic, error) {
	queues, err := v.rdb.Keys(ctx, "mq:queue:*").Result()
	if err != nil {
		return nil, err
	}
	told := v.rdb.PSubscribe(ctx, "mq:tail:*")
	if _, err := told.Receive(ctx); err != nil { // from here on it is told
		return nil, errors.Join(err, told.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	t := &traffic{}
	var wg sync.WaitGroup
	t.end = func() { cancel(); _ = told.Close(); wg.Wait() }
	wg.Go(func() {
		for m := range told.Channel() {
			p := passed{At: time.Now()}
			err := json.Unmarshal([]byte(m.Payload), &p)
			t.mu.Lock()
			t.events, t.err = append(t.events, p), errors.Join(t.err, err)
			t.mu.Unlock()
		}
	})
	wg.Go(func() {
		for ctx.Err() == nil {
			lengths := make([]*goredis.IntCmd, len(queues))
			_, err := v.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error {
				for i, queue := range queues {
					lengths[i] = p.XLen(ctx, queue)
				}
				return nil
			})
			var n int64
			for _, length := range lengths {
				n += length.Val()
			}
			t.mu.Lock()
			if t.most = max(t.most, n); err != nil && ctx.Err() == nil {
				t.err = err
			}
			t.mu.Unlock()
			pause(ctx, 50*time.Millisecond)
		}
	})
	return t, nil
}

// between returns the events that Redis took between two changes of the mode: not what it is given in NORMAL, to know that it works.
func (t *traffic) between(from, to time.Time) (events []passed) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.events {
		if !e.At.Before(from) && (to.IsZero() || e.At.Before(to)) {
			events = append(events, e)
		}
	}
	return events
}

// errLimit is returned by within when its limit has passed.
var errLimit = errors.New("it takes too long")

// within calls done, every 20 ms, until it reports true or fails.
func within(ctx context.Context, limit time.Duration, done func() (bool, error)) error {
	for end := time.Now().Add(limit); ; pause(ctx, 20*time.Millisecond) {
		ok, err := done()
		switch {
		case ok || err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(end):
			return errLimit
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
