package mq_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/mq"
)

// TestWants: types and filter select by everything an event has.
func TestWants(t *testing.T) {
	t.Parallel()
	e := mq.Event{ID: "e1", Source: "/order", Type: "order.paid", Subject: "o-1", Sequence: 7, Attributes: map[string]string{"region": "eu"}}
	for _, c := range []struct {
		s    mq.Subscription
		want bool
	}{
		{mq.Subscription{}, true},
		{mq.Subscription{Types: []string{"order.created", "order.paid"}}, true},
		{mq.Subscription{Types: []string{"order.created"}, Filter: "region = 'eu'"}, false},
		{mq.Subscription{Types: []string{"order.paid"}, Filter: "region = 'us'"}, false},
		{mq.Subscription{Filter: "id = 'e1' AND source = '/order' AND type = 'order.paid' AND subject = 'o-1' AND sequence = 7 AND region = 'eu'"}, true},
	} {
		got, err := c.s.Wants(e)
		require.NoError(t, err)
		assert.Equal(t, c.want, got, "%v", c.s)
	}
	_, err := mq.Subscription{Filter: "region ="}.Wants(e)
	assert.ErrorContains(t, err, "filter region =:")
}
