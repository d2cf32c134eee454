package demo

import (
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/deploy/local/stack"
)

// resetCalls is how many calls every demo that is not complete makes before anything else.
const resetCalls = 3

// TestKilled kills the demo by SIGKILL at every call that changes something: before it is sent, while it is under way, and when it is answered
// and not yet recorded. A demo that is then completed shows what one shows that was never killed.
func TestKilled(t *testing.T) {
	d := newDemo(t)
	// The demo is killed while the payment is held, and order with it: the payment does not go on, and the coordinator's time-out ends it.
	const release = resetCalls + 2 + 4 // after sign-up and sign-in, the order, the hold, and the call that pays
	require.Empty(t, kill(t, d, release, "before"))
	require.Equal(t, 1, count(t, d, "SELECT COUNT(*) FROM shop_order.orders WHERE status = 'UPDATING'"))
	require.NoError(t, running(d).Kill(t.Context(), "order"))
	require.NoError(t, running(d).WaitHealthy(t.Context()))

	killed := 0
	got := recorded(t, d)
	for tries := 0; ; tries++ {
		require.Less(t, tries, 60, "no chapter comes to its end")
		call := resetCalls + tries/len(moments)
		if told := kill(t, d, call, moments[tries%len(moments)]); told != "" {
			require.Equal(t, "<nil>", lastLine(told), told)
			break
		}
		killed++
		if now := recorded(t, d); now != got {
			got, tries = now, -1 // the next chapter: from its first call on again
		}
	}
	t.Logf("killed %d times", killed)
	assert.Greater(t, killed, 50)

	// How long the order took to follow was not seen.
	told := strings.Replace(tell(t, d), "It read SHIPPED after", "It read SHIPPED 0 ms after", 1)
	assert.Contains(t, told, "SHIPPED 0 ms after the parcel left.")
	assertGolden(t, told)
	assert.Equal(t, 1, count(t, d, "SELECT COUNT(*) FROM shop_order.orders WHERE status IN ('PAID', 'SHIPPED', 'COMPLETED')"))
	assert.Zero(t, count(t, d, "SELECT COUNT(*) FROM shop_order.orders WHERE status NOT IN ('COMPLETED', 'REFUNDED', 'CANCELED')"))
	assert.Zero(t, count(t, d, "SELECT COUNT(*) FROM shop_order.payment_attempt WHERE state = 'OPEN'"))
	_, err := d.Pay(t.Context())
	require.NoError(t, err, "nothing is left frozen or held")
}

// moments of a call.
var moments = []string{"before", "under way", "answered"}

// kill runs the demo in a process that is killed at its n-th call that changes something. It returns the demo's output when it came to its end
// before that, "" when it was killed.
func kill(t *testing.T, d *Demo, n int, moment string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), "KILL_AT="+strconv.Itoa(n), "KILL_MOMENT="+moment, "DEMO_DATA="+d.dir,
		"SHOPPER="+d.shopper.token, "SHOPPER_ID="+d.shopperID, "OPERATOR="+d.operator.token)
	out, err := cmd.CombinedOutput()
	require.NoError(t, ctx.Err(), string(out))
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok, err)
	if status.Signaled() && status.Signal() == syscall.SIGKILL {
		return ""
	}
	return string(out)
}

// victim is the process that kill starts.
func victim() error {
	s, err := stack.Open(os.Getenv("DEMO_DATA"))
	if err != nil {
		return err
	}
	at, err := strconv.Atoi(os.Getenv("KILL_AT"))
	if err != nil {
		return err
	}
	reader, err := sql.Open("mysql", s.ReaderDSN("shop_wms"))
	if err != nil {
		return err
	}
	d := &Demo{s.Dir(), s.Target(), s, client{s.Gateway(), os.Getenv("SHOPPER")}, client{s.Gateway(), os.Getenv("OPERATOR")}, os.Getenv("SHOPPER_ID"),
		reader, nil}
	http.DefaultTransport = &killer{to: http.DefaultTransport, at: at, moment: os.Getenv("KILL_MOMENT")}
	if err := d.Reset(context.Background()); err != nil { // as New does
		return err
	}
	return d.Tell(context.Background(), os.Stdout, false)
}

// killer ends its own process at the at-th call that changes something.
type killer struct {
	to     http.RoundTripper
	at     int
	n      atomic.Int64
	moment string
}

func (k *killer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet {
		return k.to.RoundTrip(r)
	}
	if k.n.Add(1) != int64(k.at) {
		return k.to.RoundTrip(r)
	}
	die := func() { _ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL); select {} }
	switch k.moment {
	case "before":
		die()
	case "under way":
		time.AfterFunc(20*time.Millisecond, die)
	}
	res, err := k.to.RoundTrip(r)
	if res != nil {
		_, _ = io.ReadAll(res.Body)
	}
	die()
	return nil, err
}

// recorded returns how far the record is.
func recorded(t *testing.T, d *Demo) string {
	t.Helper()
	s, err := load(d.dir)
	require.NoError(t, err)
	chapters := []bool{s.SignUp != nil, s.Paid != nil, s.Refused != nil, s.Shipment != nil, s.Refund != nil}
	if s.Shipment != nil {
		chapters = append(chapters, s.Shipment.Paid != nil, s.Shipment.Picked != nil, s.Shipment.Shipped != nil, s.Shipment.Delivered != nil)
	}
	text, err := json.Marshal(chapters)
	require.NoError(t, err)
	return string(text)
}

func count(t *testing.T, d *Demo, query string) (n int) {
	t.Helper()
	require.NoError(t, d.reader.QueryRowContext(t.Context(), query).Scan(&n))
	return n
}

func openDB(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
