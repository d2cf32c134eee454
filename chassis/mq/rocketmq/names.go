package rocketmq

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"example.com/fourfold/chassis/backoff"
	"example.com/fourfold/chassis/mq/rocketmq/remoting"
)

// errNoRoute says why a client cannot start yet: no name server answers, or none knows the topic.
var errNoRoute = errors.New("no name server knows the topic")

// lookupTimeout bounds one lookup: the client looks up the addresses while it holds a lock that its requests wait for.
const lookupTimeout = 2 * time.Second

// names are the name servers of a broker, by host name: a resolver for the client, which takes only addresses. A running client asks it 10 s
// after its start and then every two minutes. When it returns none, the client goes on with the addresses it has; when it returns others, the
// client sends its next request there.
type names struct {
	servers []server
	sign    remoting.Credentials
	lookup  func(ctx context.Context, network, host string) ([]net.IP, error)

	mu    sync.Mutex
	found map[string][]net.IP // by host: the addresses found last
}

type server struct{ host, port string }

// parseNames parses host:port,… It looks up nothing.
func parseNames(list string) (*names, error) {
	n := &names{lookup: net.DefaultResolver.LookupIP, found: map[string][]net.IP{}}
	for one := range strings.SplitSeq(list, ",") {
		host, port, err := net.SplitHostPort(strings.TrimSpace(one))
		if err != nil || host == "" || port == "" {
			return nil, fmt.Errorf("mq.name_servers is host:port, or several of that with commas between, not %q", list)
		}
		n.servers = append(n.servers, server{host, port})
	}
	return n, nil
}

// Resolve returns the addresses that the hosts have now, and for a host that cannot be looked up those it had before. While none has been found
// it returns none, and no client can be made.
func (n *names) Resolve() []string {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	var (
		wg    sync.WaitGroup
		found = make([][]net.IP, len(n.servers))
		addrs []string // a new slice each time: the client sorts it
	)
	for i, s := range n.servers {
		wg.Go(func() { found[i] = n.addresses(ctx, s.host) })
	}
	wg.Wait()
	for i, s := range n.servers {
		for _, ip := range found[i] {
			addrs = append(addrs, net.JoinHostPort(ip.String(), s.port))
		}
	}
	return addrs
}

func (n *names) addresses(ctx context.Context, host string) []net.IP {
	ips, err := n.lookup(ctx, "ip4", host)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil && len(ips) > 0 {
		n.found[host] = ips
	}
	return n.found[host]
}

// Description names the resolver in the client's log.
func (n *names) Description() string { return fmt.Sprint("name servers ", n.servers) }

// wait says how to wait for a topic.
type wait struct {
	longest time.Duration // the longest pause between two questions; the first are shorter
	tried   func(error)   // is called after each question with the reason why the wait goes on
}

// await returns nil when a name server knows topic and more find nothing that stands against it, or ctx's error when ctx ends before.
func (n *names) await(ctx context.Context, w wait, topic string, more ...func(ctx context.Context, topic string) error) error {
	for pause := w.longest / 32; ; pause = min(2*pause, w.longest) {
		err := n.ask(ctx, topic)
		for _, check := range more {
			if err == nil {
				err = check(ctx, topic)
			}
		}
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			w.tried(err)
		}
		if backoff.Sleep(ctx, pause); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// ask returns errNoRoute unless a name server knows topic. Nothing of the question stays in the process: the client that asks has no background
// work, and its connection ends with it. It asks for the list of topics, because after a question for one topic's route the client keeps the
// connection for two minutes, and the answer for ever.
func (n *names) ask(ctx context.Context, topic string) error {
	err := errors.New("no address of theirs is known")
	for _, addr := range n.Resolve() {
		var a admin.Admin
		// Of several addresses the client would ask only the first.
		if a, err = admin.NewAdmin(admin.WithResolver(primitive.NewPassthroughResolver([]string{addr}))); err != nil {
			continue
		}
		var list *admin.TopicList
		list, err = a.FetchAllTopicList(ctx)
		_ = a.Close()
		if err == nil && slices.Contains(list.TopicList, topic) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errNoRoute, err)
	}
	return fmt.Errorf("%w: %s", errNoRoute, topic)
}

// errNotPermitted says what is to be done about a broker that does not know who asks, or lets it do less.
var errNotPermitted = errors.New("the broker does not permit it to whom mq.access_key and mq.secret_key name")

// permittedTimeout bounds the question of permitted.
const permittedTimeout = time.Second

// permitted returns errNotPermitted when a master that the name servers know does not permit to ask about topic: the client would start there,
// and get nothing for ever without saying so. A broker that does not answer now does not forbid it.
func (n *names) permitted(ctx context.Context, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, permittedTimeout)
	defer cancel()
	masters, err := n.brokers(ctx, remoting.Masters)
	if err != nil {
		return nil //nolint:nilerr // it is asked again when the client does
	}
	for _, addr := range masters {
		if _, err := n.sign.Ask(ctx, addr, remoting.TopicConfig, nil, "topic", topic); errors.Is(err, remoting.ErrNotPermitted) {
			return explained(err)
		}
	}
	return nil
}

// explained returns err, with errNotPermitted when that is why the broker answered it.
func explained(err error) error {
	if errors.Is(err, remoting.ErrNotPermitted) {
		return fmt.Errorf("%w: %w", errNotPermitted, err)
	}
	return err
}
