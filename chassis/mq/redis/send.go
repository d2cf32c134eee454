package redis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"example.com/fourfold/chassis/mq"
)

// ErrStale means that the switch is not in the state any more that the sender knows: nothing was sent.
var ErrStale = errors.New("the switch has moved")

// Send implements mq.Transport. It holds nothing back: an event for later is an mq.ErrHeld, and so is one whose queue is full.
func (q *Queues) Send(ctx context.Context, topic string, e mq.Event, at time.Time) error {
	return q.send(ctx, "", topic, e, at)
}

// SendIn is Send in the state of the switch with that epoch, and ErrStale in any other.
func (q *Queues) SendIn(ctx context.Context, epoch int64, topic string, e mq.Event, at time.Time) error {
	return q.send(ctx, strconv.FormatInt(epoch, 10), topic, e, at)
}

func (q *Queues) send(ctx context.Context, epoch, topic string, e mq.Event, at time.Time) error {
	if wait := time.Until(at); wait > 0 {
		return fmt.Errorf("%w: it is due in %s, and Redis holds nothing back", mq.ErrHeld, wait.Round(time.Second))
	}
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("%w: %w", mq.ErrRefused, err)
	}
	shard := q.ShardOf(e)
	ctx, cancel := context.WithTimeout(ctx, q.cfg.Timeout)
	defer cancel()
	err = sendScript.Run(ctx, q.rdb, []string{q.stream(shard), q.key("switch")}, epoch, topic, body, q.cfg.ShardBytes, q.channel(topic)).Err()
	switch {
	case err == nil:
		return nil
	case goredis.HasErrorPrefix(err, "STALE"):
		return ErrStale
	case goredis.HasErrorPrefix(err, "QUEUEFULL"):
		return fmt.Errorf("%w: queue %d has %d bytes; a group does not read it", mq.ErrHeld, shard, q.cfg.ShardBytes)
	case goredis.HasErrorPrefix(err, "OOM"):
		return fmt.Errorf("%w: Redis is full", mq.ErrHeld)
	}
	return errAway(err)
}

// Tail implements mq.Transport.
func (q *Queues) Tail(ctx context.Context, v mq.View, f func(context.Context, mq.Event)) error {
	looking := q.rdb.Subscribe(ctx, q.channel(v.Topic))
	defer func() { _ = looking.Close() }()
	for ch := looking.Channel(); ; {
		select {
		case <-ctx.Done():
			return nil
		case m, open := <-ch:
			if !open {
				return nil
			}
			if d := mq.Received("", []byte(m.Payload)); d.Broken == nil && d.Event.OneOf(v.Types) && ctx.Err() == nil {
				f(ctx, d.Event)
			}
		}
	}
}
