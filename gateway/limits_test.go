package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	accessv1 "example.com/fourfold/api/access/v1"
	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/gateway/internal/limit"
)

// limited turns on limits that a test reaches at once.
func limited(c *config) {
	c.Limits.Calls = limit.Rate{PerSecond: 1, Burst: 10}
	c.Limits.Strangers = limit.Rate{PerSecond: 1, Burst: 3}
}

// drain makes n calls. It fails the test unless the calls that pass are the burst, and one more for each second that this took. It returns the
// last refusal.
func (s *stage) drain(t *testing.T, n, burst int, method, path, token, body string) (last said) {
	t.Helper()
	start, passed := time.Now(), 0
	for range n {
		if a := s.call(t, method, path, token, body); a.code == 429 {
			last = a
		} else {
			passed++
		}
	}
	assert.GreaterOrEqual(t, passed, burst)
	assert.LessOrEqual(t, passed, burst+1+int(time.Since(start).Seconds()))
	return last
}

func TestLimitsOfMembersAndStrangers(t *testing.T) {
	t.Parallel()
	s := open(t, limited)
	last := s.drain(t, 30, 10, "GET", "/v1/orders/o1", s.token(t, "m1", accessv1.Shopper), "")
	assert.Equal(t, "TOO_MANY_REQUESTS", last.Reason)
	seconds, err := strconv.Atoi(last.header.Get("Retry-After"))
	require.NoError(t, err)
	assert.GreaterOrEqual(t, seconds, 1)

	another := s.call(t, "GET", "/v1/orders/o1", s.token(t, "m2", accessv1.Shopper), "")
	assert.Equal(t, 200, another.code, "another member at the same address has a limit of their own")

	credentials := `{"login":"a@example.com","password":"wrong"}`
	s.drain(t, 13, 3, "POST", "/v1/sessions", "", credentials)
	s.drain(t, 13, 0, "POST", "/v1/sessions", s.token(t, "m3", accessv1.Shopper), credentials) // even for callers who are signed in
	assert.Equal(t, 200, s.call(t, "GET", "/v1/products/x", "", "").code, "looking at products is not counted with sign-in")
}

// TestLimitOfSignUps tests that sign-ups of an address have a limit of their own, beside that of strangers, and none without that.
func TestLimitOfSignUps(t *testing.T) {
	t.Parallel()
	form := `{"phone":"+8613800138000","email":"a@example.com","name":"A","password":"correct horse"}`
	hourly := func(c *config) { c.Limits.SignUps = limit.Rate{PerHour: 1, Burst: 4} }
	s := open(t, func(c *config) { c.Limits.Strangers = limit.Rate{PerSecond: 1000, Burst: 1000} }, hourly)
	refused := 0
	for range 10 {
		if a := s.call(t, "POST", "/v1/members", "", form); a.code == 429 {
			refused++
			seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
			require.NoError(t, err)
			assert.InDelta(t, 3600, seconds, 60)
		}
	}
	assert.Equal(t, 6, refused)
	assert.Equal(t, 200, s.call(t, "POST", "/v1/sessions", "", `{"login":"a@example.com","password":"x"}`).code, "signing in is not signing up")
	s = open(t, hourly)
	for range 10 {
		assert.NotEqual(t, 429, s.call(t, "POST", "/v1/members", "", form).code, "LIMIT_STRANGERS=0 switches both off")
	}
}

func TestBadTokensAreLimitedByAddress(t *testing.T) {
	t.Parallel()
	s := open(t, limited)
	s.drain(t, 30, 10, "GET", "/v1/orders/o1", "garbage", "")
}

func TestForwardedForIsNotTrusted(t *testing.T) {
	t.Parallel()
	for _, trust := range []bool{false, true} {
		t.Run(fmt.Sprint(trust), func(t *testing.T) {
			t.Parallel()
			s := open(t, limited, func(c *config) {
				if trust {
					c.HTTP.TrustedProxies = "127.0.0.0/8"
				}
			})
			start, refused := time.Now(), 0
			for i := range 30 { // each claims another address
				if s.call(t, "GET", "/v1/products/x", "", "", "X-Forwarded-For", fmt.Sprint("192.0.2.", i)).code == 429 {
					refused++
				}
			}
			if trust {
				assert.Zero(t, refused)
			} else {
				assert.GreaterOrEqual(t, refused, 19-int(time.Since(start).Seconds()))
			}
		})
	}
}

// TestServicesLearnTheAddress tests that the services are told the address that the limits count, and no other.
func TestServicesLearnTheAddress(t *testing.T) {
	t.Parallel()
	for _, trust := range []bool{false, true} {
		t.Run(fmt.Sprint(trust), func(t *testing.T) {
			t.Parallel()
			s := open(t, func(c *config) {
				if trust {
					c.HTTP.TrustedProxies = "127.0.0.0/8"
				}
			})
			a := s.call(t, "POST", "/v1/sessions", "", `{"login":"a@example.com","password":"wrong"}`,
				"X-Caller-Address", "203.0.113.9", "X-Forwarded-For", "192.0.2.7")
			assert.Contains(t, a.body, map[bool]string{false: `"127.0.0.1"`, true: `"192.0.2.7"`}[trust])
		})
	}
}

func TestNoLimits(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.drain(t, 150, 150, "GET", "/v1/products/x", "", "")
}

func TestRedisDown(t *testing.T) {
	t.Parallel()
	s := open(t, limited)
	s.redis.Stop()
	start, passed := time.Now(), 0
	for range 50 {
		if s.call(t, "GET", "/v1/products/x", "", "").code == 200 {
			passed++
		}
	}
	assert.Positive(t, passed, "the shop goes on")
	assert.LessOrEqual(t, passed, 10+10*int(time.Since(start).Seconds()+1), "and this gateway counts by itself")
	assert.Equal(t, 1, strings.Count(s.log.String(), "Redis does not answer"), "it is said once")
}

// TestOneAddressOfManyMembers: members are free, so an address has a limit for all of them together.
func TestOneAddressOfManyMembers(t *testing.T) {
	t.Parallel()
	s := open(t, limited, func(c *config) { c.Limits.Addresses = limit.Rate{PerSecond: 1, Burst: 20} })
	start, passed := time.Now(), 0
	for i := range 100 {
		if s.call(t, "GET", "/v1/orders/o1", s.token(t, fmt.Sprint("m", i), accessv1.Shopper), "").code == 200 {
			passed++
		}
	}
	assert.GreaterOrEqual(t, passed, 20)
	assert.LessOrEqual(t, passed, 21+int(time.Since(start).Seconds()))
}

// TestCallsUnderWay: one more than there may be is told at once to come back.
func TestCallsUnderWay(t *testing.T) {
	t.Parallel()
	s := open(t, func(c *config) { c.Limits.UnderWay = 3 })
	asked, answer := make(chan struct{}, 10), make(chan struct{})
	s.shop.get = func(_ context.Context, r *orderv1.GetOrderRequest) (*orderv1.Order, error) {
		asked <- struct{}{}
		<-answer
		return &orderv1.Order{Id: r.Id}, nil
	}
	token := s.token(t, "m1", accessv1.Shopper)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { assert.Equal(t, 200, s.call(t, "GET", "/v1/orders/o1", token, "").code) })
		<-asked
	}
	refused := s.call(t, "GET", "/v1/orders/o1", token, "")
	assert.Equal(t, 503, refused.code)
	assert.Equal(t, "TRY_LATER", refused.Reason)
	assert.Equal(t, "1", refused.header.Get("Retry-After"))
	close(answer)
	wg.Wait()
	assert.Equal(t, 200, s.call(t, "GET", "/v1/orders/o1", token, "").code)
}
