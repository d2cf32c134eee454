package stack

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"example.com/fourfold/deploy/local/progress"
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

// brokerAddr returns the address on which the broker listens.
func (s *Stack) brokerAddr() string { return "127.0.0.1:" + s.vars["PORT_BROKER"] }

// makeTopics waits for the broker and creates the topics that it does not have.
func (s *Stack) makeTopics(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	_, err := s.command(ctx, nil, "topics", "-name-servers", s.vars["MQ_NAME_SERVERS"], "-broker", s.brokerAddr())
	return err
}

// Requests to the name server and to the broker, in RocketMQ's own protocol.
const (
	getBrokerRuntimeInfo = 28
	getConsumerList      = 38
	getBrokerClusterInfo = 106
)

// brokers asks the name server for its list of brokers.
func brokers(ctx context.Context, s *Stack, _ string) error {
	_, err := ask(ctx, s.vars["MQ_NAME_SERVERS"], getBrokerClusterInfo)
	return err
}

// registered returns nil when the name server knows the broker and the broker answers.
func registered(ctx context.Context, s *Stack, _ string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.brokerAddr())
	if err != nil {
		return err
	}
	_ = conn.Close()
	list, err := ask(ctx, s.vars["MQ_NAME_SERVERS"], getBrokerClusterInfo)
	if err != nil {
		return fmt.Errorf("the name server: %w", err)
	}
	if !strings.Contains(string(list), `"`+s.brokerAddr()+`"`) {
		return errors.New("the name server does not know it yet")
	}
	// Asked before it has started, the broker would log a page of complaints.
	_, err = ask(ctx, s.brokerAddr(), getBrokerRuntimeInfo)
	return err
}

// AwaitConsumers waits until each group has a consumer at the broker. Services connect by themselves when the broker is there, which may be a
// few seconds after everything is healthy.
func (s *Stack) AwaitConsumers(ctx context.Context, groups ...string) error {
	for _, group := range groups {
		for {
			_, err := ask(ctx, s.brokerAddr(), getConsumerList, "consumerGroup", group)
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("no service consumes as %s: %w: %w", group, ctx.Err(), err)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

// ask sends one request and returns the body of the answer. args are the request's arguments: names and values in turn.
func ask(ctx context.Context, addr string, code int, args ...string) ([]byte, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(3 * time.Second)
	}
	_ = conn.SetDeadline(deadline)

	// A frame: its length, that of the header (its highest byte 0 for JSON), the header, the body.
	fields := map[string]string{}
	for i := 0; i+1 < len(args); i += 2 {
		fields[args[i]] = args[i+1]
	}
	header, err := json.Marshal(map[string]any{"code": code, "flag": 0, "language": "OTHER", "opaque": 1, "version": 0, "extFields": fields})
	if err != nil {
		return nil, err
	}
	frame := binary.BigEndian.AppendUint32(nil, uint32(4+len(header)))
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(header)))
	if _, err := conn.Write(append(frame, header...)); err != nil {
		return nil, err
	}
	var size uint32
	if err := binary.Read(conn, binary.BigEndian, &size); err != nil {
		return nil, fmt.Errorf("it does not answer: %w", err)
	}
	answer, err := io.ReadAll(io.LimitReader(conn, int64(min(size, 1<<20))))
	if err != nil {
		return nil, fmt.Errorf("it does not answer: %w", err)
	}
	if len(answer) < 4 || int(binary.BigEndian.Uint32(answer)&0xffffff) > len(answer)-4 {
		return nil, errors.New("it answers something else than a name server or a broker")
	}
	end := 4 + binary.BigEndian.Uint32(answer)&0xffffff
	var reply struct {
		Code   int    `json:"code"`
		Remark string `json:"remark"`
	}
	if err := json.NewDecoder(bytes.NewReader(answer[4:end])).Decode(&reply); err != nil || reply.Code != 0 {
		return nil, fmt.Errorf("it answers %d %s", reply.Code, reply.Remark)
	}
	return answer[end:], nil
}
