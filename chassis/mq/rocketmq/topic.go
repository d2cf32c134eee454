package rocketmq

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/rlog"

	"example.com/fourfold/chassis/mq/rocketmq/remoting"
)

// CreateTopic creates topic with so many queues on the master that the name servers know, and waits until they know the topic. An existing topic
// stays as it is. CreateTopic tries until ctx ends.
func CreateTopic(ctx context.Context, nameServers, topic string, queues int) error {
	quiet.Do(func() { rlog.SetLogger(clientLog{}) })
	names, err := parseNames(nameServers)
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
			// The client does not return the broker's refusal, so only the route counts.
			err = a.CreateTopic(ctx, admin.WithTopicCreate(topic), admin.WithBrokerAddrCreate(masters[0]),
				admin.WithReadQueueNums(queues), admin.WithWriteQueueNums(queues))
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
func AwaitReplicas(ctx context.Context, nameServers string, topics ...string) error {
	names, err := parseNames(nameServers)
	if err != nil {
		return err
	}
	for {
		brokers, err := names.brokers(ctx, remoting.Brokers)
		for _, addr := range brokers {
			for _, topic := range topics {
				if _, missing := remoting.Ask(ctx, addr, remoting.TopicConfig, "topic", topic); missing != nil {
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
