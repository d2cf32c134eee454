package e2e_test

import (
	"bytes"
	"context"
	"maps"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq/rocketmq/remoting"
	"example.com/fourfold/chassis/port"
	"example.com/fourfold/deploy/local/stack"
)

// own brings up another stack and makes all helpers use it until the test ends. It is not for parallel tests.
func own(t *testing.T, o stack.Options) {
	t.Helper()
	o.Dir, o.RandomPorts, o.Faults, o.SkipBuild = t.TempDir(), true, true, true
	env := map[string]string{"LIMIT_CALLS": "0", "LIMIT_STRANGERS": "0", "LIMIT_ADDRESSES": "0", "REGISTRATION_POINTS": "0"} // all calls come from one address
	maps.Copy(env, o.Env)
	o.Env = env
	s, err := stack.Up(t.Context(), o)
	require.NoError(t, err)
	wasShared, wasTarget, wasOperator := shared, target, operator
	t.Cleanup(func() {
		shared, target, operator = wasShared, wasTarget, wasOperator
		assert.NoError(t, s.Down(context.Background()))
	})
	shared = s
	target, err = s.Seed(t.Context())
	require.NoError(t, err)
	require.NoError(t, signInOperator(t.Context()))
	require.NoError(t, awaitFollowers(t.Context(), s))
}

// awaitFollowers waits until every group of s has a consumer at the broker.
func awaitFollowers(ctx context.Context, s *stack.Stack) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return remoting.AwaitConsumers(ctx, s.Target().Broker, "credit-registration", "notify-sms", "notify-email", "notify-orders", "notify-alerts", "order-products",
		"order-deliveries", "order-timers")
}

// network holds the proxies between services and their databases, by the service's name.
type network map[string]*toxiproxy.Proxy

// via returns a function for stack.Options.DatabaseVia.
func (n network) via(t testing.TB) func(service, port string) string {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	return func(service, of string) string {
		claim, err := port.Take()
		require.NoError(t, err)
		t.Cleanup(claim.Close)
		p := toxiproxy.NewProxy(server, service, claim.Addr(), "127.0.0.1:"+of)
		require.NoError(t, p.Start())
		n[service] = p
		t.Cleanup(p.Stop)
		return strconv.Itoa(claim.Port)
	}
}

// outage disturbs the connection to a database until it is ended.
type outage struct {
	name  string
	lasts time.Duration
	begin func(t testing.TB, p *toxiproxy.Proxy) (end func())
}

// duration returns OUTAGE when that is set, else lasts.
func (o outage) duration(t testing.TB) time.Duration {
	t.Helper()
	text := os.Getenv("OUTAGE")
	if text == "" {
		return o.lasts
	}
	d, err := time.ParseDuration(text)
	require.NoError(t, err, "OUTAGE is a duration such as 20s")
	return d
}

// outages are the ways in which a database can be away, the one with the longest effect last.
var outages = []outage{
	// Nothing answers and nothing fails; in the end all connections break.
	{"silent", 1600 * time.Millisecond, toxic(
		`{"type": "timeout", "stream": "upstream", "attributes": {"timeout": 0}}`,
		`{"type": "timeout", "stream": "downstream", "attributes": {"timeout": 0}}`)},
	// Connections break and new ones are refused.
	{"down", 700 * time.Millisecond, func(t testing.TB, p *toxiproxy.Proxy) func() {
		p.Stop()
		return func() { require.NoError(t, p.Start()) }
	}},
	// Connections break in the middle of an answer, for example to a COMMIT; in between the database can be reached.
	{"cut", 800 * time.Millisecond, func(t testing.TB, p *toxiproxy.Proxy) func() {
		stop, stopped := make(chan struct{}), make(chan struct{})
		cut := toxic(`{"type": "limit_data", "stream": "downstream", "attributes": {"bytes": 7}}`)
		go func() {
			defer close(stopped)
			for {
				end := cut(t, p)
				time.Sleep(40 * time.Millisecond)
				end()
				select {
				case <-stop:
					return
				case <-time.After(200 * time.Millisecond):
				}
			}
		}()
		return func() { close(stop); <-stopped }
	}},
	{"slow", 800 * time.Millisecond, toxic(
		`{"type": "latency", "stream": "downstream", "attributes": {"latency": 300, "jitter": 100}}`)},
	// What is under way is lost for ever: its connections stay silent after the outage too, as when a host vanishes. First all COMMITs are lost,
	// whose locks stay in the database, then the answers to what was done.
	{"commits lost", 500 * time.Millisecond, toxic(`{"type": "swallow", "stream": "upstream", "attributes": {"from": "COMMIT"}}`)},
	{"answers lost", 400 * time.Millisecond, toxic(`{"type": "swallow", "stream": "downstream"}`)},
}

func toxic(toxics ...string) func(testing.TB, *toxiproxy.Proxy) func() {
	return func(t testing.TB, p *toxiproxy.Proxy) func() {
		var names []string
		for _, text := range toxics {
			added, err := p.Toxics.AddToxicJson(strings.NewReader(text))
			assert.NoError(t, err)
			names = append(names, added.Name)
		}
		return func() {
			for _, name := range names {
				assert.NoError(t, p.Toxics.RemoveToxic(context.Background(), name))
			}
		}
	}
}

// swallow drops what is sent on a connection, starting with the first packet that contains From. Unlike the toxic timeout it breaks no
// connection when it is removed.
type swallow struct {
	From string `json:"from"`
}

func (s *swallow) Pipe(stub *toxics.ToxicStub) {
	for began := false; ; {
		select {
		case <-stub.Interrupt:
			return
		case c := <-stub.Input:
			if c == nil {
				stub.Close()
				return
			}
			if began = began || bytes.Contains(c.Data, []byte(s.From)); !began {
				stub.Output <- c
			}
		}
	}
}
