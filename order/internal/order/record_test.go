package order_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/fourfold/order/internal/order"
)

// TestAttemptsFit tests every status with every possible list of attempts: only those that the protocol leaves fit.
func TestAttemptsFit(t *testing.T) {
	t.Parallel()
	// "gid: attempts"; p is the payment's attempt, r a refund's; o, d and a their states OPEN, DONE and ABANDONED.
	lists := []string{
		"-:", "-:po", "-:pd", "-:pa", "p:", "p:po", "p:pd", "p:pa", "-:pa po",
		"p:pd ro", "p:pd rd", "p:pd ra", "r:pd ro", "r:pd rd", "r:pd ra", "r:rd", "r:ro", "r:po rd", "-:rd", "p:po rd", "p:pd qd",
	}
	fit := map[order.Status]string{
		order.Created:   "-:  -:po  -:pa  -:pa po",
		order.Updating:  "p:po",
		order.Canceled:  "-:  -:po  -:pa  -:pa po  p:pd  p:pd ro  p:pd ra",
		order.Paid:      "p:pd  p:pd ro  p:pd rd  p:pd ra  r:pd rd",
		order.Refunding: "r:pd ro",
		order.Refunded:  "r:pd rd",
		"":              "",
		"LOST":          "",
	}
	fit[order.Shipped], fit[order.Completed] = fit[order.Paid], fit[order.Paid]
	for status, want := range fit {
		for _, list := range lists {
			gid, attempts, _ := strings.Cut(list, ":")
			r := order.Record{ID: "o", Status: status, GID: strings.TrimPrefix(gid, "-")}
			for _, a := range strings.Fields(attempts) {
				r.Attempts = append(r.Attempts, order.Attempt{
					GID:   a[:1],
					Kind:  map[byte]order.Kind{'p': order.Payment, 'q': order.Payment, 'r': order.Refund}[a[0]],
					State: map[byte]order.AttemptState{'o': order.AttemptOpen, 'd': order.AttemptDone, 'a': order.AttemptAbandoned}[a[1]],
				})
			}
			expected := false
			for w := range strings.SplitSeq(want, "  ") {
				expected = expected || w == list
			}
			assert.Equal(t, expected, r.AttemptsFit(), "%q with %s", status, list)
		}
	}
}

func TestEventsFit(t *testing.T) {
	t.Parallel()
	assert.True(t, order.Record{EventSeq: 3, Events: 3, LastEvent: 3}.EventsFit())
	for _, r := range []order.Record{
		{EventSeq: 3, Events: 2, LastEvent: 3}, {EventSeq: 3, Events: 2, LastEvent: 2}, {EventSeq: 2, Events: 3, LastEvent: 3},
		{EventSeq: 3}, {Events: 1, LastEvent: 1}, {EventSeq: 3, Events: 3, LastEvent: 4},
	} {
		assert.False(t, r.EventsFit(), "%+v", r)
	}
}
