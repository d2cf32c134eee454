package e2e_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// crowd is several shoppers who buy, pay and refund until stop, look up outcomes that an answer left open, and record every answer.
type crowd struct {
	skus     [2]string
	shoppers []*buyer
	paid     atomic.Int64 // answers PAID
	quit     chan struct{}
	wg       sync.WaitGroup

	mu      sync.Mutex
	phase   string
	wrong   []string       // answers that the API does not allow
	codes   map[string]int // answers by call and status
	slowest time.Duration
}

type buyer struct {
	*client
	member    string
	purchases []*purchase
}

// purchase is what a shopper was told about an order, in the sequence of the answers: "PAID", "CANCELED CREDIT_REFUSED", "REFUNDED"; "refund?"
// when a refund was requested and the answer left it open.
type purchase struct {
	id   string
	told []string
}

// newCrowd starts the shoppers.
func newCrowd(t testing.TB, shoppers int) *crowd {
	t.Helper()
	s := &crowd{skus: [2]string{product(t, 500, 100000), product(t, 300, 100000)}, quit: make(chan struct{}), codes: map[string]int{}}
	for range shoppers {
		c := shopper(t)
		s.shoppers = append(s.shoppers, &buyer{client: c, member: c.must(t, 200, "GET", "/v1/members/me", nil).Body.MemberID})
	}
	t.Cleanup(s.stop)
	for _, b := range s.shoppers {
		s.wg.Go(func() { s.shop(b) })
	}
	return s
}

// stop waits until every shopper has finished what was begun.
func (s *crowd) stop() {
	s.mu.Lock()
	select {
	case <-s.quit:
	default:
		close(s.quit)
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// during names what happens from now on, for the messages.
func (s *crowd) during(phase string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase = phase
}

func (s *crowd) shop(b *buyer) {
	for n := 0; ; n++ {
		select {
		case <-s.quit:
			return
		default:
		}
		p := &purchase{id: s.create(b)}
		if p.id == "" {
			return
		}
		b.purchases = append(b.purchases, p)
		key := rand.Text()
		for range 2 {
			a := s.ask(b.client, "pay", "POST", "/v1/orders/"+p.id+"/pay", key, nil, 200, 202, 409, 503)
			if p.hear(a) {
				break
			}
			if p.hear(s.ask(b.client, "look", "GET", "/v1/orders/"+p.id, "", nil, 200, 503)) {
				break
			}
		}
		if slices.Contains(p.told, "PAID") {
			s.paid.Add(1)
			if n%3 == 0 {
				a := s.ask(b.client, "refund", "POST", "/v1/orders/"+p.id+"/refund", rand.Text(), nil, 200, 202, 409, 503)
				if a.code != 409 && !p.hear(a) {
					p.told = append(p.told, "refund?")
				}
			}
		}
		time.Sleep(30 * time.Millisecond)
	}
}

// create creates an order of two lines. It repeats the call with the same key until it is answered.
func (s *crowd) create(b *buyer) string {
	body := map[string]any{"lines": []any{
		map[string]any{"sku": s.skus[0], "quantity": 1}, map[string]any{"sku": s.skus[1], "quantity": 2}}}
	key := rand.Text()
	for tries := 0; tries < 1000; tries++ {
		if a := s.ask(b.client, "create", "POST", "/v1/orders", key, body, 201, 503); a.code == 201 {
			return a.Body.ID
		}
		time.Sleep(50 * time.Millisecond)
	}
	return ""
}

// hear records a final answer and reports whether a is one.
func (p *purchase) hear(a answer) bool {
	status := a.Body.Status
	switch {
	case a.code == 409:
		status = "CANCELED " + a.Body.Reason
	case a.code != 200:
		return false
	case status == "CANCELED":
		status += " " + a.Body.Reason
	case status != "PAID" && status != "REFUNDED":
		return false
	}
	p.told = append(p.told, status)
	return true
}

// leak matches what an answer must not hold: SQL, a stack trace, an address of ours, words of the driver.
var leak = regexp.MustCompile(`(?i)goroutine|panic|\.go:\d|sql|select |insert |mariadb|127\.0\.0\.1|\btcp\b|\bEOF\b|i/o timeout|bad connection|invalid connection|error \d{4}`)

// ask makes a call and records an answer that is not one of codes, late, or malformed.
func (s *crowd) ask(c *client, what, method, path, key string, body any, codes ...int) answer {
	began := time.Now()
	a, err := c.keyed(context.Background(), method, path, key, body)
	took := time.Since(began)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[fmt.Sprintf("%s %d", what, a.code)]++
	s.slowest = max(s.slowest, took)
	var wrong string
	switch {
	case err != nil:
		wrong = err.Error()
	case !slices.Contains(codes, a.code):
		wrong = fmt.Sprintf("not one of %v", codes)
	case a.code == 503 && (a.header.Get("Retry-After") == "" || a.Body.Reason == "" || a.Body.Message == ""):
		wrong = "a 503 has Retry-After, reason and message"
	case took > 13*time.Second: // the gateway's 10 s, on a busy machine
		wrong = "too late"
	case a.code >= 400 && leak.MatchString(a.raw): // a token may hold any letters
		wrong = "tells what is behind: " + leak.FindString(a.raw)
	default:
		return a
	}
	s.wrong = append(s.wrong, fmt.Sprintf("%s: %s %s after %.1f s: %s: %d %s", s.phase, method, path, took.Seconds(), wrong, a.code, a.raw))
	return a
}

// check requires that every answer was one of the API's, that every order was created once, and that what was told is true.
func (s *crowd) check(t testing.TB) {
	t.Helper()
	assert.Empty(t, s.wrong)
	for _, b := range s.shoppers {
		assert.Equal(t, fmt.Sprint(len(b.purchases)), one(t, db(t, "shop_order"), "SELECT COUNT(*) FROM orders WHERE member_id = ?", b.member),
			"each order is made once, also when its answer was lost")
		for _, p := range b.purchases {
			now := one(t, db(t, "shop_order"), "SELECT CONCAT_WS(' ', status, NULLIF(reason, '')) FROM orders WHERE id = ?", p.id)
			for _, told := range p.told {
				switch {
				case told == "PAID" && now == "REFUNDED":
					assert.Subset(t, []string{"REFUNDED", "refund?"}, p.told[len(p.told)-1:], "%s: refunded, but nobody asked", p.id)
				case told != "refund?":
					assert.Equal(t, told, now, "told about %s: %v", p.id, p.told)
				}
			}
		}
	}
}

// summary counts the answers.
func (s *crowd) summary() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(s.codes)) {
		parts = append(parts, fmt.Sprintf("%s: %d", code, s.codes[code]))
	}
	return fmt.Sprintf("%s; slowest %.1f s", strings.Join(parts, ", "), s.slowest.Seconds())
}

// visitor makes the calls that an outage must not touch.
type visitor struct {
	*client
	s     *crowd
	email string
}

func newVisitor(t testing.TB, s *crowd) *visitor {
	t.Helper()
	c := anonymous()
	return &visitor{c, s, c.signUp(t)}
}

// works makes a call and returns its answer when that is a success. On a busy machine it may be late, which the API says by 503 (or 202 for a
// payment).
func (v *visitor) works(what string, code int, method, path string, body any) *answer {
	a := v.s.ask(v.client, what, method, path, rand.Text(), body, code, 202, 503)
	if a.code != code {
		return nil
	}
	return &a
}

func (v *visitor) makeOrder() *answer {
	return v.works("make", 201, "POST", "/v1/orders", map[string]any{"lines": []any{map[string]any{"sku": v.s.skus[0], "quantity": 1}}})
}
