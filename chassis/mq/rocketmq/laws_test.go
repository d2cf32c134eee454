package rocketmq_test

import (
	"testing"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
)

func TestLaws(t *testing.T) {
	t.Parallel()
	s := rocketmqtest.Shared(t)
	mqlaws.Run(t, func(t *testing.T) (mq.Transport, string) { return s.Broker(t, "laws"), s.Topic(t) })
}
