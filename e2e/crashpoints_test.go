package e2e_test

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// crash is the death of a process in the middle of a payment or refund of 2 × 5.00, and its outcome.
type crash struct {
	// point kills process when it is reached. With between, process is held there instead, and order is killed when the others have got as far
	// as this footprint.
	process, point string
	between        string
	// refused makes participants refuse: for a payment there is nothing in stock; for a refund the order was picked.
	refused bool
	// ends is the final footprint that is reached without further calls, a pattern in which ( )? is optional.
	ends string
	// reason is the reason of a refund's attempt.
	reason string
	// again is the footprint after the member asks once more.
	again string

	id string
}

// What a payment or refund can end as: see footprint.
const (
	paidOnce      = `PAID | 2 DEDUCTED | 10 ADDED | CREATED | DONE`
	paidAgain     = `PAID | 2 DEDUCTED | 10 ADDED | CREATED | ABANDONED,DONE`
	notBegun      = `CREATED |  |  |  | ABANDONED`
	onlyOrder     = `CANCELED PAYMENT_TIMEOUT |  |  |  | DONE`
	timedOut      = `CANCELED PAYMENT_TIMEOUT | 2 RELEASED | 10 CANCELED | CANCELED | DONE`
	outOfStock    = `CANCELED STOCK_NOT_ENOUGH |  | (10 CANCELED)? | (CANCELED)? | DONE`
	refused       = `CANCELED PAYMENT_TIMEOUT |  | (10 CANCELED)? | (CANCELED)? | DONE`
	refunded      = `REFUNDED | 2 RETURNED | 10 DEDUCTED | CANCELED | DONE,DONE`
	refundedAgain = `REFUNDED | 2 RETURNED | 10 DEDUCTED | CANCELED | DONE,DONE,DONE`
	refundedLater = `REFUNDED | 2 RETURNED | 10 DEDUCTED | CANCELED | DONE,ABANDONED,DONE`
	refundNotYet  = `PAID | 2 DEDUCTED | 10 ADDED | CREATED | DONE,ABANDONED`
	undone        = `PAID | 2 DEDUCTED | 10 ADDED | CREATED | DONE,DONE`
	pickedUndone  = `PAID | 2 DEDUCTED | 10 ADDED | PICKED | DONE,DONE`
)

// TestInitiatorCrashes kills order at every step of a payment, including between the Tries of the others, and waits for recovery.
func TestInitiatorCrashes(t *testing.T) {
	crashes(t, "pay", []crash{
		{process: "order", point: "checkout/attempt-recorded", ends: notBegun, again: paidAgain},
		{process: "order", point: "checkout/prepared", ends: notBegun, again: paidAgain},
		{process: "order", point: "checkout/order-tried", ends: onlyOrder},
		{process: "inventory", point: "inventory/try", between: `UPDATING |  | 10 PREPARED | UNKNOWN | OPEN`,
			ends: `CANCELED PAYMENT_TIMEOUT |  | 10 CANCELED | CANCELED | DONE`},
		{process: "credit", point: "credit/try", between: `UPDATING | 2 FROZEN |  | UNKNOWN | OPEN`,
			ends: `CANCELED PAYMENT_TIMEOUT | 2 RELEASED |  | CANCELED | DONE`},
		{process: "wms", point: "wms/try", between: `UPDATING | 2 FROZEN | 10 PREPARED |  | OPEN`,
			ends: `CANCELED PAYMENT_TIMEOUT | 2 RELEASED | 10 CANCELED |  | DONE`},
		{process: "order", point: "checkout/all-tried", ends: timedOut},
		{process: "order", point: "checkout/submitted", ends: paidOnce},
		{process: "order", point: "checkout/refused", refused: true, ends: refused},
		{process: "order", point: "checkout/reason-recorded", refused: true, ends: outOfStock},
		{process: "order", point: "checkout/aborted", refused: true, ends: outOfStock},
	})
}

// TestParticipantCrashes kills each participant in its Try, which is repeated until it is back, in its Confirm and in its Cancel. Participants
// that come last in the protocol are first here: no transaction that still recovers passes the point at which the next one must die.
func TestParticipantCrashes(t *testing.T) {
	crashes(t, "pay", slices.Concat(
		each(participants, "", "/try", crash{ends: paidOnce}),
		each([]string{"order"}, "", "/confirm", crash{ends: paidOnce}),
		each(participants, "", "/confirm", crash{ends: paidOnce}),
		each([]string{"order"}, "", "/cancel", crash{refused: true, ends: outOfStock}),
		each(participants, "", "/cancel", crash{refused: true, ends: outOfStock}),
	))
}

// each is the same death of each of processes, at the point <process><branch><phase>.
func each(processes []string, branch, phase string, c crash) (all []crash) {
	for _, name := range processes {
		c.process, c.point = name, name+branch+phase
		all = append(all, c)
	}
	return all
}

// TestRefundCrashes does both to a refund. One that is undone leaves the order PAID and may be requested again.
func TestRefundCrashes(t *testing.T) {
	crashes(t, "refund", slices.Concat(
		each(participants, "-refund", "/try", crash{ends: refunded}),
		each([]string{"order"}, "-refund", "/confirm", crash{ends: refunded}),
		each(participants, "-refund", "/confirm", crash{ends: refunded}),
		each([]string{"order"}, "-refund", "/cancel", crash{refused: true, ends: pickedUndone, reason: "DELIVERY_REFUSED"}),
		each(participants, "-refund", "/cancel", crash{refused: true, ends: pickedUndone, reason: "DELIVERY_REFUSED"}),
		refundSteps,
	))
}

// refundSteps kill order at every step of a refund, also between the Tries of the others.
var refundSteps = []crash{
	{process: "order", point: "refund/attempt-recorded", ends: refundNotYet, again: refundedLater},
	{process: "order", point: "refund/prepared", ends: refundNotYet, again: refundedLater},
	{process: "order", point: "refund/order-tried", ends: undone, again: refundedAgain},
	{process: "inventory", point: "inventory-refund/try", between: `REFUNDING | 2 DEDUCTED | 10 DEDUCTING | HELD | DONE,OPEN`,
		ends: undone, again: refundedAgain},
	{process: "credit", point: "credit-refund/try", between: `REFUNDING | 2 RETURNING | 10 ADDED | HELD | DONE,OPEN`,
		ends: undone, again: refundedAgain},
	{process: "wms", point: "wms-refund/try", between: `REFUNDING | 2 RETURNING | 10 DEDUCTING | CREATED | DONE,OPEN`,
		ends: undone, again: refundedAgain},
	{process: "order", point: "refund/all-tried", ends: undone, again: refundedAgain},
	{process: "order", point: "refund/submitted", ends: refunded},
	{process: "order", point: "refund/refused", refused: true, ends: pickedUndone},
	{process: "order", point: "refund/reason-recorded", refused: true, ends: pickedUndone, reason: "DELIVERY_REFUSED"},
	{process: "order", point: "refund/aborted", refused: true, ends: pickedUndone, reason: "DELIVERY_REFUSED"},
}

// crashes makes one crash after another and then waits for all of them together. call is pay or refund.
func crashes(t *testing.T, call string, all []crash) {
	c := shopper(t)
	full, empty := product(t, 500, 1000), product(t, 500, 0)
	ask := func(id string) (answer, error) { return c.try(t.Context(), "POST", "/v1/orders/"+id+"/"+call, nil) }
	for i := range all {
		s := &all[i]
		switch {
		case call == "refund":
			s.id = paid(t, c, full)
			if s.refused {
				operator.must(t, 200, "POST", "/v1/ops/deliveries/"+delivery(t, s.id)+"/pick", nil)
			}
		case s.refused:
			s.id = c.order(t, empty, 2)
		default:
			s.id = c.order(t, full, 2)
		}
	}
	for _, s := range all {
		s.die(t, func() (answer, error) { return ask(s.id) })
	}
	left := func(id, footprints string) bool {
		return regexp.MustCompile("^" + strings.ReplaceAll(footprints, "|", `\|`) + "$").MatchString(footprint(t, id))
	}
	var pending []string
	require.Eventually(t, func() bool {
		pending = nil
		for _, s := range all {
			if !left(s.id, s.ends) {
				pending = append(pending, s.point+": "+footprint(t, s.id))
			}
		}
		return len(pending) == 0
	}, 30*time.Second, 200*time.Millisecond, "all end as they should: %v", &pending)
	for _, s := range all {
		if call == "refund" {
			assert.Equal(t, s.reason,
				one(t, db(t, "shop_order"), "SELECT reason FROM payment_attempt WHERE order_id = ? ORDER BY no DESC LIMIT 1", s.id), s.point)
		}
		if s.again == "" {
			continue
		}
		a, err := ask(s.id)
		require.NoError(t, err)
		assert.Contains(t, []int{200, 202}, a.code, "%s: %s", s.point, a.raw) // 202: the machine is busy
		if !assert.Eventually(t, func() bool { return left(s.id, s.again) }, patience, 50*time.Millisecond) {
			t.Errorf("%s, and again: %s", s.point, footprint(t, s.id))
		}
	}
	requireBooks(t)
}

// die makes the crash happen to the payment or refund that call begins, and returns when everything runs again.
func (s crash) die(t *testing.T, call func() (answer, error)) {
	t.Helper()
	victim, action := s.process, "crash*1"
	end, _, _ := strings.Cut(s.ends, " |")
	status, reason, _ := strings.Cut(end, " ")
	if s.between != "" {
		victim, action = "order", "pause" // a repeated Try is held too
	}
	before, err := shared.PID(t.Context(), victim)
	require.NoError(t, err)
	require.NoError(t, setFaultAt(t.Context(), s.process, s.point, action))
	defer func() { _ = setFaultAt(context.Background(), s.process, s.point, "") }()
	var a answer
	var answered sync.WaitGroup
	answered.Go(func() { a, err = call() })
	if s.between != "" {
		require.Eventually(t, func() bool { return footprint(t, s.id) == s.between }, patience, 5*time.Millisecond, "%s: %s",
			s.point, s.between)
		require.NoError(t, shared.Kill(t.Context(), victim))
	}
	answered.Wait()
	require.NoError(t, err, s.point)
	switch { // what was told must be how it ends
	case victim == "order":
		require.Equal(t, 503, a.code, "%s: nobody knows yet: %s", s.point, a.raw)
		require.NotEmpty(t, a.header.Get("Retry-After"))
	case a.code == 200 && !s.refused:
		require.Equal(t, status, a.Body.Status, "%s: %s", s.point, a.raw)
	case a.code == 409 && s.refused:
		require.Equal(t, reason+s.reason, a.Body.Reason, "%s: %s", s.point, a.raw)
	default:
		require.Equal(t, 202, a.code, "%s: %s", s.point, a.raw)
	}
	require.Eventually(t, func() bool {
		pid, err := shared.PID(t.Context(), victim)
		return err == nil && pid != 0 && pid != before
	}, patience, 20*time.Millisecond, "%s is started again after %s", victim, s.point)
	require.NoError(t, shared.WaitHealthy(t.Context(), victim, "gateway"))
}
