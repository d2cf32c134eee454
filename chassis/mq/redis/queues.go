// Package redis is the transport by Redis streams: a fixed number of queues for all topics, spread by subject, for the time in which the broker
// is away. An entry stays until the last consumer group has settled it. What must hold:
//
//   - A subject's events lie in one queue, in the order in which they were sent. In each group one instance at a time has a queue: the next one
//     has it when the work on it has ended, or the lease of an instance that is not heard of.
//   - Every group of every topic is a group of every queue; it settles what is not its own by looking at it.
//   - What reads, settles and deletes works when Redis is full: it is what makes room.
//   - A group that Redis has lost is made anew, and sees whatever is there; for a while nothing is deleted, so that the others see it too.
//   - What was read for nobody, because an answer was lost or came to one who was taken for dead, is read again with the next renewal.
//
// Redis must write every command to its disk (appendfsync always) and evict nothing (noeviction). What it loses all the same, publishers send
// again: see package failover, which also decides when this transport is used.
package redis

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/redisdb"
)

// Config is the part of a service's config.yaml about the queues in Redis. All services must use the same.
type Config struct {
	// Addr is host:port, or a URL with a password or for TLS, and CA the authorities for that: redisdb.Options.
	Addr string `yaml:"addr"`
	CA   string `yaml:"ca"`
	// Prefix begins the name of every key. Default mq.
	Prefix string `yaml:"prefix"`
	// Shards is how many queues there are. Default 100. docs/degrade.md says how to change it.
	Shards int `yaml:"shards"`
	// ShardBytes is how much memory one queue may take; beyond it events stay in their outboxes. Default 4 MiB.
	ShardBytes int `yaml:"shard_bytes"`
	// Timeout bounds one call. Default 250 ms.
	Timeout time.Duration `yaml:"timeout"`
	// Lease is for how long a group's instance keeps its queues after it was last heard of. Default 4 s.
	Lease time.Duration `yaml:"lease"`
}

// Queues is a connection to the queues. Its methods may be called by any number of goroutines.
type Queues struct {
	cfg Config
	rdb *goredis.Client
}

var _ mq.Transport = (*Queues)(nil)

var quiet sync.Once

// Open returns a connection. Redis need not answer yet: Open fails only on settings that can never work.
func Open(cfg Config) (*Queues, error) {
	quiet.Do(logging.Disable) // the client would log every failed dial
	cfg.Prefix = cmp.Or(cfg.Prefix, "mq")
	cfg.Shards = cmp.Or(cfg.Shards, 100)
	cfg.ShardBytes = cmp.Or(cfg.ShardBytes, 4<<20)
	cfg.Timeout = cmp.Or(cfg.Timeout, 250*time.Millisecond)
	cfg.Lease = cmp.Or(cfg.Lease, 4*time.Second)
	switch {
	case cfg.Shards < 1 || cfg.Shards > 1000:
		return nil, fmt.Errorf("mq.queues.shards is %d: 1 to 1000", cfg.Shards)
	case cfg.ShardBytes < 1<<16 || cfg.Timeout < 0 || cfg.Lease < time.Second:
		return nil, errors.New("mq.queues: shard_bytes is at least 65536, lease at least 1s, and timeout not negative")
	}
	o, err := redisdb.Options(cfg.Addr, cfg.CA, cfg.Timeout)
	if err != nil {
		return nil, fmt.Errorf("mq.queues.addr: %w", err)
	}
	o.PoolSize = 64 // a group that waits for entries holds one
	return &Queues{cfg: cfg, rdb: goredis.NewClient(o)}, nil
}

// Close ends the connection. End Listen, Tail and Watch before.
func (q *Queues) Close() { _ = q.rdb.Close() }

// Shards returns how many queues there are.
func (q *Queues) Shards() int { return q.cfg.Shards }

// ShardOf returns the queue of e.
func (q *Queues) ShardOf(e mq.Event) int { return mq.Spread(e.Subject, e.ID, q.cfg.Shards) }

func (q *Queues) key(name string) string { return q.cfg.Prefix + ":" + name }
func (q *Queues) stream(shard int) string {
	return q.key("queue:" + strconv.Itoa(shard))
}
func (q *Queues) members(group string) string { return q.key("members:" + group) }
func (q *Queues) owners(group string) string  { return q.key("owners:" + group) }
func (q *Queues) channel(topic string) string { return q.key("tail:" + topic) }

//go:embed *.lua
var scripts embed.FS

func script(name string) *goredis.Script {
	text, err := scripts.ReadFile(name + ".lua")
	if err != nil {
		panic(err) // the file is embedded
	}
	return goredis.NewScript(string(text))
}

var (
	sendScript   = script("send")
	groupsScript = script("groups")
	shareScript  = script("share")
	settleScript = script("settle")
	changeScript = script("change")
)

// errAway turns an error of the client into an mq.ErrUnavailable.
func errAway(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: Redis: %w", mq.ErrUnavailable, err)
}

// now returns the time by Redis' clock.
func (q *Queues) now(ctx context.Context) (time.Time, error) {
	now, err := q.rdb.Time(ctx).Result()
	return now, errAway(err)
}
