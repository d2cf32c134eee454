package rocketmq

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/rlog"

	"example.com/fourfold/chassis/mq/rocketmq/remoting"
)

// CreateTopic creates topic with so many queues on the master that the name servers know, and waits until they know the topic. An existing topic
// stays as it is. CreateTopic tries until ctx ends, or the broker does not permit it to whom cfg names.
func CreateTopic(ctx context.Context, cfg Config, topic string, queues int) error {
	quiet.Do(func() { rlog.SetLogger(clientLog{}) })
	names, err := parseNames(cfg.NameServers)
	if err != nil {
		return err
	}
	sign, err := cfg.credentials()
	if err != nil {
		return err
	}
	a, err := admin.NewAdmin(admin.WithResolver(names))
	if err != nil {
		return fmt.Errorf("rocketmq: %w", err)
	}
	defer func() { _ = a.Close() }()
	there := func() error {
		queues, err := a.FetchPublishMessageQueues(ctx, topic)
		if err == nil && len(queues) == 0 {
			err = errors.New("it has no queues")
		}
		return err
	}
	if there() == nil {
		return nil // to create it again would change it back to so many queues
	}
	for {
		masters, err := names.brokers(ctx, remoting.Masters)
		if err == nil {
			// The client neither signs this nor returns the broker's refusal.
			n := strconv.Itoa(queues)
			_, err = sign.Ask(ctx, masters[0], remoting.CreateTopic, nil, "topic", topic, "defaultTopic", "TBW102", "readQueueNums", n,
				"writeQueueNums", n, "perm", "6", "topicFilterType", "SINGLE_TAG", "topicSysFlag", "0", "order", "false")
		}
		if errors.Is(err, remoting.ErrNotPermitted) {
			return fmt.Errorf("create topic %s: %w", topic, explained(err))
		}
		if err == nil {
			if err = there(); err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("create topic %s: %w: %v", topic, ctx.Err(), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// AwaitReplicas waits until every broker that the name servers know has the topics. A replica takes them over from its master some seconds after
// they were created, and one that became the master before would not know them.
func AwaitReplicas(ctx context.Context, cfg Config, topics ...string) error {
	names, err := parseNames(cfg.NameServers)
	if err != nil {
		return err
	}
	sign, err := cfg.credentials()
	if err != nil {
		return err
	}
	for {
		brokers, err := names.brokers(ctx, remoting.Brokers)
		for _, addr := range brokers {
			for _, topic := range topics {
				if _, missing := sign.Ask(ctx, addr, remoting.TopicConfig, nil, "topic", topic); missing != nil {
					err = fmt.Errorf("broker %s and topic %s: %w", addr, topic, missing)
				}
			}
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(time.Second):
		}
	}
}
