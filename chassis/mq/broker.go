package mq

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

var (
	// ErrUnavailable: the broker did not say that it has the event. It may have it all the same; sending it again, with the same id,
	// is harmless.
	ErrUnavailable = errors.New("the broker is not available")
	// ErrRefused: the event or its topic is wrong, and will be the next time.
	ErrRefused = errors.New("the event is refused")
	// ErrNotYet is what a handler returns that cannot act yet: it is called again later, for as long as it takes.
	ErrNotYet = errors.New("not yet")
	// ErrPoison is what a handler returns for an event that can never have an effect, such as one that it cannot read: it is a dead letter
	// at once.
	ErrPoison = errors.New("poison message")
)

// Config is the broker's part of a service's config.yaml.
type Config struct {
	// NameServers are host:port, separated by commas.
	NameServers string `json:"name_servers"`
	// Service names who publishes; all instances of a service have the same.
	Service string `json:"-"`
	// Tries is how often a handler may fail before the event is dead, where a subscription does not say: 10.
	Tries int `json:"tries"`
	// Timeout bounds one send. 3 s, which is also the most, when 0.
	Timeout time.Duration `json:"timeout"`
}

// Broker is a connection to the message broker, for any number of goroutines.
type Broker struct {
	cfg      Config
	names    []string
	producer rocketmq.Producer
	meter    *meter
	made     atomic.Int64
}

var quiet sync.Once

// Dial prepares a connection. It does not need the broker to answer yet; it fails on a name server that has no address.
func Dial(cfg Config) (*Broker, error) {
	quiet.Do(func() { rlog.SetLogger(clientLog{}) }) // the client has one logger a process
	if cfg.Timeout <= 0 || cfg.Timeout > 3*time.Second {
		cfg.Timeout = 3 * time.Second
	}
	if cfg.Service == "" {
		return nil, errors.New("mq: the service has no name")
	}
	names, err := resolve(cfg.NameServers)
	if err != nil {
		return nil, err
	}
	b := &Broker{cfg: cfg, names: names, meter: newMeter()}
	b.producer, err = rocketmq.NewProducer(b.producerOptions("plain")...)
	if err != nil {
		return nil, fmt.Errorf("mq: %w", err)
	}
	if err := b.producer.Start(); err != nil {
		return nil, fmt.Errorf("mq: %w", err)
	}
	return b, nil
}

// Close ends the connection. What Consume and Relay do has ended before.
func (b *Broker) Close() { _ = b.producer.Shutdown() }

// instance gives a client a name of its own: clients of the same name share a connection, and handlers of the first only are called.
func (b *Broker) instance(kind string) string {
	return fmt.Sprintf("%s-%s-%d-%d-%s", b.cfg.Service, kind, os.Getpid(), b.made.Add(1), NewID()[28:])
}

func (b *Broker) producerOptions(kind string) []producer.Option {
	return []producer.Option{
		producer.WithNameServer(primitive.NamesrvAddr(b.names)),
		producer.WithGroupName(b.cfg.Service + "-" + kind),
		producer.WithInstanceName(b.instance(kind)),
		producer.WithRetry(0), // each would write again; retries are the relay's
		producer.WithSendMsgTimeout(b.cfg.Timeout),
		producer.WithQueueSelector(bySubject{}),
	}
}

// resolve gives the IP addresses: the client does not take names.
func resolve(list string) ([]string, error) {
	var addrs []string
	for server := range strings.SplitSeq(list, ",") {
		host, port, err := net.SplitHostPort(strings.TrimSpace(server))
		if err != nil {
			return nil, fmt.Errorf("mq.name_servers is host:port,…: %w", err)
		}
		ips, err := net.DefaultResolver.LookupIP(context.Background(), "ip4", host)
		if err != nil || len(ips) == 0 {
			return nil, fmt.Errorf("mq.name_servers: %s has no address: %w", host, err)
		}
		addrs = append(addrs, net.JoinHostPort(ips[0].String(), port))
	}
	return addrs, nil
}
