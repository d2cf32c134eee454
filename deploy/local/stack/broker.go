package stack

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"

	"example.com/fourfold/chassis/mq/rocketmq/remoting"
	"example.com/fourfold/deploy/machine"
	"example.com/fourfold/deploy/rocketmq/setup"
)

// store is the folder with the broker's messages in a data folder.
func store(dir string) string { return filepath.Join(dir, "rocketmq", "store") }

// Disk returns the disk that holds the broker's store, whether the broker runs or not.
func (s *Stack) Disk(context.Context) (machine.Disk, error) { return machine.DiskOf(store(s.dir)) }

// brokerSettings returns the settings of the name server and of the broker.
func brokerSettings(root, dir string, vars map[string]string) setup.Settings {
	return setup.Settings{Root: root, Dir: filepath.Join(dir, "rocketmq"), NameServerPort: vars["PORT_NAMESRV"],
		BrokerPort: vars["PORT_BROKER"], MetricsPort: vars["PORT_BROKER_METRICS"]}
}

// makeTopics waits for the broker and creates the topics that it does not have.
func (s *Stack) makeTopics(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	_, err := s.Run(ctx, "topics", "-name-servers", s.vars["MQ_NAME_SERVERS"])
	return err
}

// brokers asks the name server for its list of brokers.
func brokers(ctx context.Context, s *Stack, _ string) error {
	_, err := remoting.Brokers(ctx, s.vars["MQ_NAME_SERVERS"])
	return err
}

// registered returns nil when the name server knows the broker and the broker answers.
func registered(ctx context.Context, s *Stack, _ string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.addr("broker", ""))
	if err != nil {
		return err
	}
	_ = conn.Close()
	known, err := remoting.Brokers(ctx, s.vars["MQ_NAME_SERVERS"])
	if err != nil {
		return err
	}
	if !slices.Contains(known, s.addr("broker", "")) {
		return errors.New("the name server does not know it yet")
	}
	// Asked before it has started, the broker would log a page of complaints.
	_, err = remoting.Ask(ctx, s.addr("broker", ""), remoting.BrokerRuntimeInfo)
	return err
}
