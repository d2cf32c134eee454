package stack

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"example.com/fourfold/chassis/mq/rocketmq/remoting"
	"example.com/fourfold/deploy/progress"
	"example.com/fourfold/deploy/rocketmq/setup"
)

// fetch fetches RocketMQ's jars in the background if they are missing, and waits for other processes that do so at the same time. wait returns
// the result; a caller that does not call it must end ctx.
func fetch(ctx context.Context, root string) (wait func(*progress.Log) error) {
	done := make(chan error, 1)
	go func() {
		cmd := exec.CommandContext(ctx, filepath.Join(setup.Source(root), "fetch.sh"))
		// Maven must end with ctx too.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
		out, err := cmd.CombinedOutput()
		if err != nil && len(out) > 0 && ctx.Err() == nil {
			err = errors.New(strings.TrimSpace(string(out)))
		}
		done <- err
	}()
	return func(log *progress.Log) error {
		select {
		case err := <-done:
			return err
		case <-time.After(time.Second):
		}
		step := log.Step("broker")
		step.Note("RocketMQ from Maven's repository, 83 MB")
		if err := <-done; err != nil {
			step.Fail()
			return err
		}
		step.Done("RocketMQ from Maven's repository")
		return nil
	}
}

// brokerSettings returns the settings of the name server and of the broker.
func brokerSettings(root, dir string, vars map[string]string) setup.Settings {
	return setup.Settings{Root: root, Dir: filepath.Join(dir, "rocketmq"), NameServerPort: vars["PORT_NAMESRV"],
		BrokerPort: vars["PORT_BROKER"], MetricsPort: vars["PORT_BROKER_METRICS"]}
}

// makeTopics waits for the broker and creates the topics that it does not have.
func (s *Stack) makeTopics(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	_, err := s.command(ctx, nil, "topics", "-name-servers", s.vars["MQ_NAME_SERVERS"])
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
