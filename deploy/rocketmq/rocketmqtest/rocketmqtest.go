// Package rocketmqtest gives tests a real broker: one private name server and broker for each test binary, topics for each test.
package rocketmqtest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/mq/rocketmq"
)

var (
	once    sync.Once
	shared  *Server
	failure error
	count   atomic.Int64
)

// Main runs the tests of a package and stops the servers they used, the databases too: func TestMain(m *testing.M) { rocketmqtest.Main(m) }.
func Main(m *testing.M) {
	code := m.Run()
	Stop()
	mysqltest.Stop()
	os.Exit(code)
}

// Stop stops the broker that the tests of this process shared.
func Stop() {
	if shared != nil {
		shared.Stop()
	}
}

// Shared returns the broker that all tests of this process use. Do not kill it: Start one for that.
func Shared(t testing.TB) *Server {
	t.Helper()
	once.Do(func() { shared, failure = Start() })
	if failure != nil {
		t.Fatal(failure)
	}
	return shared
}

// Dial connects to the server under a name of the test's own.
func (s *Server) Dial(t testing.TB) *mq.Bus {
	t.Helper()
	service := fmt.Sprintf("%s-%d", name(t), count.Add(1))
	return mq.NewBus(service, s.Broker(t, service), mq.Config{Keys: mqtest.Keys()})
}

// Broker connects to the server as service.
func (s *Server) Broker(t testing.TB, service string) *rocketmq.Broker {
	t.Helper()
	b, err := rocketmq.Dial(service, s.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// Config returns the settings by which a service reaches the server.
func (s *Server) Config() rocketmq.Config {
	return rocketmq.Config{NameServers: s.NameServer, AccessKey: s.AccessKey, SecretKey: s.SecretKey}
}

// Topic creates a topic of the test's own and returns its name.
func (s *Server) Topic(t testing.TB) string {
	t.Helper()
	topic := fmt.Sprintf("%s-%d", name(t), count.Add(1))
	s.Create(t, topic)
	return topic
}

// Create creates topics with four queues each.
func (s *Server) Create(t testing.TB, topics ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, topic := range topics {
		if err := rocketmq.CreateTopic(ctx, s.Config(), topic, 4); err != nil {
			t.Fatal(err)
		}
	}
}

// name returns the test's name as topics and groups may have it.
func name(t testing.TB) string {
	n := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, t.Name())
	return n[:min(len(n), 60)]
}
