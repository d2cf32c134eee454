package mq_test

import (
	"database/sql"
	"testing"
	"time"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/mqtest"
)

func TestLaws(t *testing.T) {
	t.Parallel()
	s := mqtest.Shared(t)
	mqlaws.Run(t, func(t *testing.T) mqlaws.Transport {
		b := s.Dial(t)
		return mqlaws.Transport{
			Topic:     s.Topic(t),
			NewOutbox: func(db *sql.DB) *mq.Outbox { return mq.NewOutbox(db, b, mq.OutboxConfig{Poll: 100 * time.Millisecond}) },
			Deliver:   b.Publish,
			Consume:   b.Consume,
		}
	})
}
