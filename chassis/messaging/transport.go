package messaging

import (
	"fmt"

	"example.com/fourfold/chassis/mq/failover"
	"example.com/fourfold/chassis/mq/redis"
	"example.com/fourfold/chassis/mq/rocketmq"
	"example.com/fourfold/chassis/service"
)

// Ways is the part of a service's config.yaml about how events travel.
type Ways struct {
	rocketmq.Config
	// Queues are where events go while the broker is away.
	Queues redis.Config `yaml:"queues"`
	// Failover says when that is.
	Failover failover.Config `yaml:"failover"`
}

// Dial returns svc's transport, which watches broker and Redis from Run on. Neither need be there: Dial fails only on settings that can never
// work.
func Dial(svc *service.Service, cfg Ways) (*failover.Transport, error) {
	broker, err := rocketmq.Dial(svc.Name(), cfg.Config)
	if err != nil {
		return nil, fmt.Errorf("mq: %w", err)
	}
	svc.OnClose(broker.Close)
	queues, err := redis.Open(cfg.Queues)
	if err != nil {
		return nil, err
	}
	svc.OnClose(queues.Close)
	t := failover.New(svc.Name(), broker, queues, cfg.Failover)
	svc.Go(t.Run)
	return t, failover.Observe(t)
}
