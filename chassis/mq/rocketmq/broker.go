// Package rocketmq is the transport by RocketMQ, and the only package that knows its client. The client's types and traps stay inside: each
// client has an instance name of its own, does not retry, keeps a subject in one queue and drains its handlers, and no consumer is made before
// there is a topic for it.
package rocketmq

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"

	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/rocketmq/remoting"
)

// Config is the part of a service's config.yaml about its messages.
type Config struct {
	mq.Config
	// NameServers are host:port, separated by commas. A host without an address is looked up again and again.
	NameServers string `yaml:"name_servers"`
	// AccessKey and SecretKey sign what is sent to a broker that asks who sends it. Both are empty for one that does not.
	AccessKey string `yaml:"access_key"`
	SecretKey string `yaml:"secret_key"`
	// Timeout bounds one send. Default 3 s, which is also the most.
	Timeout time.Duration `yaml:"timeout"`
}

// credentials returns the keys, or an error when one is there without the other.
func (c Config) credentials() (remoting.Credentials, error) {
	if (c.AccessKey == "") != (c.SecretKey == "") {
		return remoting.Credentials{}, errors.New("mq.access_key and mq.secret_key belong together: set both, or none for a broker that asks for none")
	}
	return remoting.Credentials{AccessKey: c.AccessKey, SecretKey: c.SecretKey}, nil
}

// Broker is one service's connection to RocketMQ. Its methods may be called by any number of goroutines.
type Broker struct {
	service string
	timeout time.Duration
	sign    remoting.Credentials
	names   *names
	master  *master
	plain   lazy[rocketmq.Producer]
	made    atomic.Int64

	life    context.Context // until Close
	end     func()
	mu      sync.Mutex
	readers map[string]*sharedReader // by topic: those of Replay
}

var (
	_ mq.Halves  = (*Broker)(nil)
	_ mq.History = (*Broker)(nil)
	_ mq.Disk    = (*Broker)(nil)
)

var quiet sync.Once

// minHalfGrace is transactionTimeOut plus transactionCheckInterval of deploy/rocketmq/broker.conf, plus some seconds.
const minHalfGrace = 15 * time.Second

// Dial prepares a connection of service; all its instances use the same name. No server needs to answer yet: Dial fails only on settings that
// can never work.
func Dial(service string, cfg Config) (*Broker, error) {
	quiet.Do(func() { rlog.SetLogger(clientLog{}) }) // the client has one logger per process
	timeout := cfg.Timeout
	if timeout <= 0 || timeout > 3*time.Second {
		timeout = 3 * time.Second
	}
	if service == "" {
		return nil, errors.New("rocketmq: the service has no name")
	}
	if cfg.HalfGrace != 0 && cfg.HalfGrace < minHalfGrace {
		return nil, fmt.Errorf("half_grace is %s: at least %s, longer than the broker takes to ask back", cfg.HalfGrace, minHalfGrace)
	}
	names, err := parseNames(cfg.NameServers)
	if err != nil {
		return nil, err
	}
	sign, err := cfg.credentials()
	if err != nil {
		return nil, err
	}
	names.sign = sign
	b := &Broker{service: service, timeout: timeout, sign: sign, names: names, readers: map[string]*sharedReader{}}
	b.plain.start = func() (rocketmq.Producer, error) {
		if err := b.resolved(); err != nil {
			return nil, err
		}
		p, err := rocketmq.NewProducer(b.producerOptions("plain")...)
		if err == nil {
			err = p.Start()
		}
		return p, err
	}
	b.plain.shutdown = func(p rocketmq.Producer) { _ = p.Shutdown() }
	b.life, b.end = context.WithCancel(context.Background())
	b.master = &master{names: names, life: b.life}
	b.plain.change = b.master.change
	return b, nil
}

// Close ends the connection. End Listen, Tail and Answer before.
func (b *Broker) Close() {
	b.plain.stop()
	b.end()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.readers {
		if <-s.ready; s.reader != nil {
			s.reader.close()
		}
	}
	b.readers = nil
}

// resolved returns an ErrUnavailable while no name server has an address: no client could be made.
func (b *Broker) resolved() error {
	if len(b.names.Resolve()) == 0 {
		return fmt.Errorf("%w: none of the %s has an address", mq.ErrUnavailable, b.names.Description())
	}
	return nil
}

// instance returns a name for one client: clients of the same name share a connection, and only the handlers of the first are called.
func (b *Broker) instance(kind string) string {
	return fmt.Sprintf("%s-%s-%d-%d-%s", b.service, kind, os.Getpid(), b.made.Add(1), mq.NewID()[28:])
}

func (b *Broker) producerOptions(kind string) []producer.Option {
	return []producer.Option{
		producer.WithNsResolver(b.names),
		producer.WithCredentials(clientCredentials(b.sign)),
		producer.WithGroupName(b.service + "-" + kind),
		producer.WithInstanceName(b.instance(kind)),
		producer.WithRetry(0), // each would store the message again; the relay retries
		producer.WithSendMsgTimeout(b.timeout),
		producer.WithQueueSelector(bySubject{}),
	}
}

// clientCredentials returns c as the client takes it; it signs nothing when c is empty.
func clientCredentials(c remoting.Credentials) primitive.Credentials {
	return primitive.Credentials{AccessKey: c.AccessKey, SecretKey: c.SecretKey}
}
