package e2e_test

import (
	"slices"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/deploy/local/stack"
)

// TestDatabaseUnreachable takes the database away from one service after another, in each way of outages, in the middle of a stream of payments
// and refunds. Every answer is one of the API's and comes in time; what does not need that database goes on working. From the moment the
// database is back, what is open settles within 30 s, the books add up, every order was created once, and every shopper who was told PAID,
// CANCELED or REFUNDED was told the truth. The processes of this shop have certificates.
//
// OUTAGE=20s makes each outage last that long.
func TestDatabaseUnreachable(t *testing.T) {
	toxics.Register("swallow", new(swallow))
	way := network{}
	files, env := certificates(t)
	own(t, stack.Options{DatabaseVia: way.via(t), Env: env})
	t.Run("TLS", func(t *testing.T) { requireTLS(t, files) })
	for _, c := range []struct {
		service string
		// works are calls that do not need the service: each succeeds while its database is away.
		works []func(*visitor) bool
	}{
		{"member", []func(*visitor) bool{products, points, order, buy}},
		{"wms", []func(*visitor) bool{products, points, order, signIn}},
		{"credit", []func(*visitor) bool{products, order, orders, signIn}},
		{"inventory", []func(*visitor) bool{points, orders, signIn}},
		{"dtm", []func(*visitor) bool{products, points, order, signIn}},
		{"order", []func(*visitor) bool{products, points, signIn}},
	} {
		t.Run(c.service, func(t *testing.T) {
			began := time.Now()
			s := newCrowd(t, 4)
			v := newVisitor(t, s)
			require.Eventually(t, func() bool { return s.paid.Load() > 5 }, 10*time.Second, 10*time.Millisecond)
			for _, o := range outages {
				end := o.begin(t, way[c.service])
				s.during(c.service + " " + o.name)
				over, tooLong := time.Now().Add(o.duration(t)), time.Now().Add(o.duration(t)+10*time.Second)
				for working := make([]bool, len(c.works)); time.Now().Before(over) || slices.Contains(working, false); {
					for i, call := range c.works {
						working[i] = call(v) || working[i]
					}
					if time.Now().After(tooLong) {
						t.Errorf("while the database of %s is %s: which of its calls work: %v", c.service, o.name, working)
						break
					}
					time.Sleep(50 * time.Millisecond)
				}
				end()
				s.during(c.service + " is back from " + o.name)
				time.Sleep(200 * time.Millisecond) // so that every outage finds payments at every step
			}
			back, settled := time.Now(), unsettled(t)
			before := s.paid.Load()
			assert.Eventually(t, func() bool { return s.paid.Load() > before+10 }, 20*time.Second, 10*time.Millisecond,
				"payments go on by themselves")
			goesOn := time.Since(back)
			took := settled()
			s.stop()
			requireSettles(t, target)
			s.check(t)
			t.Logf("%-9s %s; payments went on after %.1f s, settled after %.1f s; %.1f s in all",
				c.service, s.summary(), goesOn.Seconds(), took.Seconds(), time.Since(began).Seconds())
		})
	}
}

func products(v *visitor) bool { return v.works("products", 200, "GET", "/v1/products", nil) != nil }

func points(v *visitor) bool {
	return v.works("points", 200, "GET", "/v1/members/me/credit", nil) != nil
}

func orders(v *visitor) bool { return v.works("orders", 200, "GET", "/v1/orders", nil) != nil }

func signIn(v *visitor) bool {
	return v.works("sign in", 200, "POST", "/v1/sessions", map[string]any{"login": v.email, "password": password}) != nil
}

// order creates an order and cancels it.
func order(v *visitor) bool {
	made := v.makeOrder()
	return made != nil && v.works("cancel", 200, "POST", "/v1/orders/"+made.Body.ID+"/cancel", nil) != nil
}

func buy(v *visitor) bool {
	made := v.makeOrder()
	return made != nil && v.works("buy", 200, "POST", "/v1/orders/"+made.Body.ID+"/pay", nil) != nil
}
