package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/deploy/local/stack"
)

// TestMain is also the program of the demo that is killed: see TestKilled.
func TestMain(m *testing.M) {
	if os.Getenv("KILL_AT") != "" {
		fmt.Println(victim())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// TestDemo: the demo shows the numbers of the documentation, and does nothing twice.
func TestDemo(t *testing.T) {
	ctx := t.Context()
	d := newDemo(t)
	t.Cleanup(func() { _ = d.Close() }) // d is another Demo by then
	t.Run("what a killed command left", func(t *testing.T) {
		require.NoError(t, d.setFaults(ctx, "order", "pause*1", slices.Concat(paymentHolds, refundHolds)...))
		require.NoError(t, d.setFaults(ctx, "credit", "delay(400ms)*1", lateCredit))
		require.NoError(t, d.freeze(ctx, true))
		d = reopen(t, d)
		for _, service := range []string{"order", "credit"} {
			var state struct{ Points map[string]string }
			require.NoError(t, client{base: d.target.Admin[service]}.do(ctx, http.MethodGet, "/faults", nil, &state))
			assert.Empty(t, state.Points, service)
		}
		assert.False(t, frozen(t, d))
	})
	first := tell(t, d)
	assertGolden(t, first)
	orders := count(t, d, "SELECT COUNT(*) FROM shop_order.orders")
	members := count(t, d, "SELECT COUNT(*) FROM shop_member.member")
	attempts := count(t, d, "SELECT COUNT(*) FROM shop_order.payment_attempt")

	t.Run("again", func(t *testing.T) {
		again := tell(t, d)
		recorded, rest, _ := strings.Cut(strings.TrimPrefix(again, "\n"), "\n")
		assert.Regexp(t, `^  As recorded on \d+ \w+ 20\d\d at \d\d:\d\d; nothing is bought now\.$`, recorded)
		until := func(text string) string { before, _, _ := strings.Cut(text, "\n  Books"); return before }
		assert.Equal(t, until(first), until(rest), "the same orders, times and numbers")
		assert.Equal(t, orders, count(t, d, "SELECT COUNT(*) FROM shop_order.orders"))
		assert.Equal(t, members, count(t, d, "SELECT COUNT(*) FROM shop_member.member"))
		assert.Equal(t, attempts, count(t, d, "SELECT COUNT(*) FROM shop_order.payment_attempt"))
	})
	t.Run("in color", func(t *testing.T) {
		var text strings.Builder
		require.NoError(t, d.Tell(ctx, &text, true))
		assert.Contains(t, text.String(), bold+"REFUNDED"+plain)
		bare := regexp.MustCompile("\033\\[\\d*m").ReplaceAllString(text.String(), "")
		assert.Equal(t, normal(tell(t, d)), normal(bare), "color adds nothing but color")
	})
	t.Run("one at a time", func(t *testing.T) {
		soon, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := New(soon, d.dir, d.control)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, d.Close())
		d, err = New(ctx, d.dir, d.control)
		require.NoError(t, err)
	})
	t.Run("frozen by a person", func(t *testing.T) {
		require.NoError(t, d.freeze(ctx, true))
		d = reopen(t, d)
		assert.True(t, frozen(t, d), "no demo left that")
		require.NoError(t, d.freeze(ctx, false))
	})
	t.Run("a refusal by somebody else", func(t *testing.T) {
		require.NoError(t, d.operator.do(ctx, http.MethodPut, "/v1/ops/warehouse", map[string]bool{"open": false}, nil))
		refused, err := d.Pay(ctx)
		require.NoError(t, err)
		assert.Equal(t, "DELIVERY_REFUSED", refused.Reason)
		_, err = d.Refund(ctx)
		require.ErrorContains(t, err, "DELIVERY_REFUSED", "what was never paid is not refunded")
		require.NoError(t, d.operator.do(ctx, http.MethodPut, "/v1/ops/warehouse", map[string]bool{"open": true}, nil))
	})
	t.Run("one more of each", func(t *testing.T) {
		p, err := d.Pay(ctx)
		require.NoError(t, err)
		assert.Equal(t, Numbers{"PAID", 96, 0, 4, "DEDUCTED", 1210, 0, 0, "CREATED"}, p.After)
		s, err := d.Ship(ctx)
		require.NoError(t, err)
		assert.Equal(t, Numbers{"COMPLETED", 94, 0, 6, "DEDUCTED", 1220, 0, 0, "DELIVERED"}, *s.Delivered)
		joined, err := d.SignUp(ctx)
		require.NoError(t, err)
		assert.EqualValues(t, 100, joined.Points)
		assert.Len(t, joined.Inbox, 2)
		r, err := d.Refund(ctx)
		require.NoError(t, err)
		assert.Equal(t, Numbers{"REFUNDED", 94, 0, 6, "RETURNED", 1220, 0, 0, "CANCELED"}, r.After)
	})
	t.Run("a refund is refused", func(t *testing.T) {
		// Between payment and refund the account is frozen, as if by another operator.
		o, err := d.paid(ctx)
		require.NoError(t, err)
		require.NoError(t, d.freeze(ctx, true))
		m, _, err := d.hold(ctx, o.ID, "/v1/orders/"+o.ID+"/refund", refundHolds)
		require.NoError(t, err)
		assert.Equal(t, "CREDIT_REFUSED", m.Reason)
		assert.Equal(t, "REFUNDING", m.Tried.Order)
		require.NoError(t, d.freeze(ctx, false))
		undone, err := d.undo(ctx, o.ID)
		require.NoError(t, err)
		assert.Equal(t, "REFUNDED", undone.Status)
	})
	t.Run("the first order was shipped by hand", func(t *testing.T) {
		s, err := load(d.dir)
		require.NoError(t, err)
		s.Shipment = nil
		require.NoError(t, s.save())
		text := tell(t, d)
		assert.Contains(t, text, "An earlier demo began this: this one goes on")
		assert.Contains(t, text, "Nothing else moved: sellable 92, frozen 0, sold 8, credit 1230.")
		s, err = load(d.dir)
		require.NoError(t, err)
		assert.NotEqual(t, s.Paid.Order, s.Shipment.Order)
	})
	t.Run("the books are wrong", func(t *testing.T) {
		db := openDB(t, running(d).DSN("shop_credit"))
		_, err := db.ExecContext(ctx, "UPDATE credit_account SET credit = credit + 1 WHERE member_id = ?", d.shopperID)
		require.NoError(t, err)
		var text strings.Builder
		require.ErrorIs(t, d.Tell(ctx, &text, false), ErrBooks)
		assert.Regexp(t, `\n  Books  WRONG: 1 of \d+ checks over \d+ rows\n         credit.*`+d.shopperID, text.String())
		_, err = db.ExecContext(ctx, "UPDATE credit_account SET credit = credit - 1 WHERE member_id = ?", d.shopperID)
		require.NoError(t, err)
		tell(t, d)
	})
	t.Run("an outage of the broker", func(t *testing.T) { outageCase(t, d) })
	t.Run("the coordinator is down", func(t *testing.T) {
		require.NoError(t, running(d).Stop(ctx, "dtm"))
		_, err := d.Pay(ctx)
		require.ErrorIs(t, err, errNotHeld)
		require.ErrorContains(t, err, "503")
	})
}

// TestReadme: the README shows what the demo shows.
func TestReadme(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	want, err := os.ReadFile("testdata/demo.txt")
	require.NoError(t, err)
	assert.True(t, strings.Contains(normal(string(readme)), "```"+string(want)+"```"), "README.md does not hold testdata/demo.txt")
}

// TestOldRecord: a payment recorded before sold was read shows no column of zeros for it.
func TestOldRecord(t *testing.T) {
	t.Parallel()
	var p Payment
	require.NoError(t, json.Unmarshal([]byte(`{"order": "1", "before": {"order": "CREATED", "sellable": 100},
		"after_try": {"order": "UPDATING", "sellable": 98, "frozen": 2}, "after": {"order": "PAID", "sellable": 98}, "took_ns": 2000000}`), &p))
	var text strings.Builder
	p.Write(&text, "A payment", false)
	assert.Contains(t, text.String(), "sellable               100           98            98\n")
	assert.Contains(t, text.String(), "PAID in 2 ms")
	assert.NotContains(t, text.String(), "sold")
}

// newDemo returns a Demo in a stack of its own, with a catalogue and no limits on calls.
func newDemo(t *testing.T) *Demo {
	ctx := t.Context()
	s, err := stack.Up(ctx, stack.Options{Dir: t.TempDir(), RandomPorts: true, Temporary: true, Faults: true,
		Env: map[string]string{"LIMIT_CALLS": "0", "LIMIT_STRANGERS": "0", "LIMIT_ADDRESSES": "0"}})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, s.Down(context.Background()))
		assert.NoDirExists(t, s.Dir())
	})
	_, err = s.Seed(ctx)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 2 { // concurrently: the first stock is added once
		wg.Go(func() {
			_, err := Catalogue(ctx, s.Dir())
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	d, err := New(ctx, s.Dir(), s)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// running returns the stack in which d is.
func running(d *Demo) *stack.Stack { return d.control.(*stack.Stack) }

// reopen does what the next command would do.
func reopen(t *testing.T, d *Demo) *Demo {
	t.Helper()
	require.NoError(t, d.Close())
	d, err := New(t.Context(), d.dir, d.control)
	require.NoError(t, err)
	return d
}

// frozen reports whether the shopper's account is frozen.
func frozen(t *testing.T, d *Demo) bool {
	t.Helper()
	return count(t, d, "SELECT COUNT(*) FROM shop_credit.credit_account WHERE frozen AND member_id = '"+d.shopperID+"'") == 1
}

// tell returns what the demo shows.
func tell(t *testing.T, d *Demo) string {
	t.Helper()
	var text strings.Builder
	require.NoError(t, d.Tell(t.Context(), &text, false), text.String())
	return text.String()
}

// normal returns text without what differs from run to run.
func normal(text string) string {
	for pattern, with := range map[string]string{
		`order [0-9a-f-]{36}`:                   "order ID",
		`member [0-9a-f-]{36}`:                  "member ID",
		`\d+ ms`:                                "N ms",
		`[1-9]\d* checks over \d+ rows`:         "N checks over N rows",
		`\n  (As recorded|An earlier demo).*\n`: "",
	} {
		text = regexp.MustCompile(pattern).ReplaceAllString(text, with)
	}
	return text
}

// assertGolden compares text with testdata/demo.txt.
func assertGolden(t *testing.T, text string) {
	t.Helper()
	want, err := os.ReadFile("testdata/demo.txt")
	require.NoError(t, err)
	assert.Equal(t, string(want), normal(text))
	for line := range strings.Lines(text) {
		assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimRight(line, "\n")), 80, line)
	}
}
