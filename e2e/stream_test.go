package e2e_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/fourfold/deploy/local/stack"
)

// flow is a steady stream of payments at a stack, sent as a load balancer in front of its gateways sends them: only to those that do not say
// that they are stopping. It repeats nothing but a payment that is late answered "try again".
type flow struct {
	stack    *stack.Stack
	pace     pace
	shoppers []shopperLogin
	skus     []string
	http     http.Client
	rounds   atomic.Int64
	ready    []atomic.Bool // the gateways

	wg       sync.WaitGroup
	stop     context.CancelFunc
	strict   atomic.Bool
	good     atomic.Int64 // payments that were answered 200 or 202
	late     atomic.Int64 // calls that were answered "try again" so late that a call between services may have timed out
	mu       sync.Mutex
	ledger   []told
	problems []string
	codes    map[string]int
}

type shopperLogin struct{ email, token string }

// pace is how many payments a stream begins in a second, and how many may be under way.
type pace struct{ perSecond, inFlight int }

const (
	// When the machine's disk stalls for longer than a call between services may take, a payment is put off: 503 after a second or more. A call
	// that a stop has cut fails at once instead. A few late ones are tolerated.
	lateAfter = time.Second
	fewLate   = 10
)

// startFlow signs shoppers up, adds products, and begins.
func startFlow(t *testing.T, s *stack.Stack, p pace) *flow {
	t.Helper()
	f := &flow{stack: s, pace: p, codes: map[string]int{}, ready: make([]atomic.Bool, len(s.Target().Gateways))}
	f.http.Timeout = 15 * time.Second
	f.http.Transport = &http.Transport{MaxIdleConnsPerHost: p.inFlight}
	seeded, err := s.Seed(t.Context())
	require.NoError(t, err)
	clerk := &client{base: s.Gateway(), http: http.Client{Timeout: 15 * time.Second}}
	clerk.signIn(t, seeded.Operator.Login, seeded.Operator.Password)
	for range 4 {
		sku := "flow-" + strings.ToLower(rand.Text())
		clerk.must(t, 201, "POST", "/v1/ops/products", map[string]any{"sku": sku, "name": sku, "price_cents": 500})
		clerk.must(t, 200, "POST", "/v1/ops/products/"+sku+"/stock", map[string]any{"quantity": 100000})
		f.skus = append(f.skus, sku)

		c := &client{base: s.Gateway(), http: http.Client{Timeout: 15 * time.Second}}
		email := c.signUp(t)
		f.shoppers = append(f.shoppers, shopperLogin{email, c.token})
	}
	f.strict.Store(true)
	ctx, stop := context.WithCancel(context.Background())
	f.stop = stop
	for n := range f.ready {
		f.wg.Go(func() { f.watch(ctx, n) })
	}
	f.wg.Go(func() { f.run(ctx) })
	t.Cleanup(func() {
		f.end()
		if t.Failed() {
			f.warnings(t)
		}
	})
	return f
}

// warnings shows the last warnings of order, which drives the payments.
func (f *flow) warnings(t *testing.T) {
	for _, name := range f.stack.Instances("order") {
		said, _ := os.ReadFile(f.stack.LogFile(name))
		var lines []string
		for line := range strings.Lines(string(said)) {
			if !strings.Contains(line, `"level":"INFO"`) {
				lines = append(lines, line)
			}
		}
		t.Logf("the last warnings of %s:\n%s", name, strings.Join(lines[max(0, len(lines)-20):], ""))
	}
}

// end stops the stream and waits for the last answers.
func (f *flow) end() {
	f.stop()
	f.wg.Wait()
}

// watch asks gateway n whether it takes calls. A service behind it that is away does not count: the calls then say so.
func (f *flow) watch(ctx context.Context, n int) {
	for ; ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		ask, cancel := context.WithTimeout(ctx, 3*time.Second)
		req, _ := http.NewRequestWithContext(ask, http.MethodGet, f.stack.Target().Gateways[n]+"/readyz", nil)
		req.Close = true
		var reply struct{ Failed map[string]string }
		resp, err := f.http.Do(req)
		if err == nil {
			err = json.NewDecoder(resp.Body).Decode(&reply)
			_ = resp.Body.Close()
		}
		cancel()
		if ctx.Err() == nil { // the last calls still need to know
			f.ready[n].Store(err == nil && reply.Failed["running"] == "")
		}
	}
}

// gateway returns the next gateway that is ready, "" when there is none and ctx ends.
func (f *flow) gateway(ctx context.Context) string {
	for ; ; time.Sleep(5 * time.Millisecond) {
		first := int(f.rounds.Add(1))
		for n := range f.ready {
			if at := (first + n) % len(f.ready); f.ready[at].Load() {
				return f.stack.Target().Gateways[at]
			}
		}
		if ctx.Err() != nil {
			return ""
		}
	}
}

func (f *flow) run(ctx context.Context) {
	atOnce := f.pace.inFlight * 2 / 3
	ticks := f.pace.perSecond - atOnce + 1
	tick := time.NewTicker(time.Second / time.Duration(ticks))
	defer tick.Stop()
	slots := make(chan struct{}, f.pace.inFlight)
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// Every second there are several at a time, so that a stop finds some under way; and a shopper signs in.
		burst := 1
		if n%ticks == 0 {
			burst = atOnce
			f.wg.Go(func() { f.signIn(ctx, n) })
		}
		for i := range burst {
			select {
			case slots <- struct{}{}:
			default:
				continue // the shop is slow: do not let calls pile up
			}
			f.wg.Go(func() {
				defer func() { <-slots }()
				f.payment(ctx, n+i)
			})
		}
	}
}

// payment creates an order and pays it.
func (f *flow) payment(ctx context.Context, n int) {
	token := f.shoppers[n%len(f.shoppers)].token
	made, ok := f.call(ctx, "POST", "/v1/orders", token, fmt.Sprintf(`{"lines":[{"sku":%q,"quantity":1}]}`, f.skus[n%len(f.skus)]), 201)
	if !ok {
		return
	}
	l := told{id: made.Body.ID}
	var paid answer
	for range 4 {
		sent := time.Now()
		if paid, ok = f.call(ctx, "POST", "/v1/orders/"+l.id+"/pay", token, "{}", 200, 202); !f.isLate(paid, sent) {
			break
		}
		time.Sleep(time.Second) // about what Retry-After says
	}
	switch {
	case ok:
		l.status = paid.Body.Status
		f.good.Add(1)
	case paid.code == 409:
		l.status, l.reason = "CANCELED", paid.Body.Reason
	case paid.code == 503:
		l.reason = paid.Body.Reason
	}
	f.mu.Lock()
	f.ledger = append(f.ledger, l)
	f.mu.Unlock()
}

func (f *flow) signIn(ctx context.Context, n int) {
	f.call(ctx, "POST", "/v1/sessions", "", fmt.Sprintf(`{"login":%q,"password":%q}`, f.shoppers[n%len(f.shoppers)].email, password), 200)
}

// call makes one call to a gateway that is ready and records what is wrong with the answer; ok reports whether it has one of codes. While the
// stream is strict, nothing else is right except, in a stack with one of each, a proper answer that a part is away.
func (f *flow) call(ctx context.Context, method, path, token, body string, codes ...int) (a answer, ok bool) {
	base := f.gateway(ctx)
	if base == "" {
		return answer{}, false
	}
	// Without GetBody Go's client does not repeat a call whose connection breaks, as it does for calls with an Idempotency-Key.
	req, err := http.NewRequest(method, base+path, io.NopCloser(strings.NewReader(body)))
	if err != nil {
		return answer{}, false
	}
	req.ContentLength = int64(len(body))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", rand.Text())
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	strict, sent := f.strict.Load(), time.Now()
	err = func() error {
		resp, err := f.http.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		raw, err := io.ReadAll(resp.Body)
		a.code, a.header, a.raw = resp.StatusCode, resp.Header, string(raw)
		if err != nil {
			return err
		}
		return json.Unmarshal(raw, &a.Body)
	}()
	wrong := ""
	switch {
	case err != nil:
		wrong = err.Error()
	case slices.Contains(codes, a.code):
		ok = true
	case f.isLate(a, sent) && f.late.Add(1) <= fewLate:
	case len(f.ready) > 1:
		wrong = a.raw
	case a.code == 503 && a.header.Get("Retry-After") != "" && a.Body.Reason != "" && a.Body.Message != "":
	case a.code == 409 && a.Body.Reason != "" && a.Body.Message != "":
	default:
		wrong = a.raw
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.codes[fmt.Sprintf("%s %d %s", path[strings.LastIndex(path, "/")+1:], a.code, a.Body.Reason)]++
	if wrong != "" && strict && f.strict.Load() {
		f.problems = append(f.problems, fmt.Sprintf("%s %s %s after %s: %d %s",
			sent.Format("05.000"), method, path, time.Since(sent).Round(time.Millisecond), a.code, wrong))
	}
	return a, ok
}

// isLate reports whether a stack of two of each put off a call because something was slow, not because it was gone.
func (f *flow) isLate(a answer, sent time.Time) bool {
	return len(f.ready) > 1 && a.code == 503 && a.header.Get("Retry-After") != "" && time.Since(sent) >= lateAfter
}

// more waits until n more payments were answered as they should be.
func (f *flow) more(t *testing.T, n int64) {
	t.Helper()
	before := f.good.Load()
	require.Eventually(t, func() bool { return f.good.Load() >= before+n }, 20*time.Second, 10*time.Millisecond, "payments go on by themselves")
}
