package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLiveStatus: an open page is shown every lasting state of its order, in sequence, until the last. Events wake it: here the gateway looks at
// the order by itself only every hour.
func TestLiveStatus(t *testing.T) {
	t.Parallel()
	c := shopper(t)
	id := c.order(t, product(t, 500, 10), 2)
	shown := c.watch(t, "/v1/orders/"+id+"/events")
	require.Equal(t, "CREATED", next(t, shown))
	require.Equal(t, 200, c.pay(t, id).code)
	assert.Equal(t, "PAID", next(t, shown))
	slip := operator.must(t, 200, "GET", "/v1/ops/deliveries?order_id="+id, nil).Body.Deliveries[0].ID
	for _, work := range []string{"pick", "ship"} {
		operator.must(t, 200, "POST", "/v1/ops/deliveries/"+slip+"/"+work, nil)
	}
	assert.Equal(t, "SHIPPED", next(t, shown))
	operator.must(t, 200, "POST", "/v1/ops/deliveries/"+slip+"/deliver", nil)
	assert.Equal(t, "COMPLETED", next(t, shown))
	_, open := <-shown
	assert.False(t, open, "nothing follows COMPLETED")
	shopper(t).must(t, 404, "GET", "/v1/orders/"+id+"/events", nil)
}

// next returns the next state shown, except UPDATING, which may be shown or not.
func next(t testing.TB, shown <-chan string) string {
	t.Helper()
	for {
		select {
		case status, open := <-shown:
			require.True(t, open, "the stream goes on")
			if status != "UPDATING" {
				return status
			}
		case <-time.After(15 * time.Second):
			t.Fatal("nothing is shown")
		}
	}
}

// watch opens a stream and returns a channel of the order statuses that it shows, until it ends.
func (c *client) watch(t testing.TB, path string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	shown := make(chan string, 100)
	go func() {
		defer func() { _ = resp.Body.Close() }()
		defer close(shown)
		event := ""
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch {
			case name == "event":
				event = value
			case name == "data" && event == "order":
				var o struct{ Status string }
				if json.Unmarshal([]byte(value), &o) == nil {
					shown <- o.Status
				}
			}
		}
	}()
	return shown
}
