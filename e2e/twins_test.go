package e2e_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/deploy/local/stack"
)

// TestTwoOfEach runs two instances of each service, of the gateway and of the coordinator. Both share the work. All of them are told to stop and
// started again one after another in the middle of a stream of payments, and every payment is answered and paid. Then one of each is killed and
// kept away: a second later the other one does all the work, and every answer was true.
func TestTwoOfEach(t *testing.T) {
	ctx := t.Context()
	s, err := stack.Up(ctx, stack.Options{Dir: t.TempDir(), RandomPorts: true, Replicas: 2, SkipBuild: true, Env: map[string]string{
		"LIMIT_CALLS": "0", "LIMIT_STRANGERS": "0", "LIMIT_ADDRESSES": "0", // all calls come from one address
		"GATEWAY_LAME_DUCK": lameDuck,
	}})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Down(context.Background())) })
	// The database is not killed here. It does not wait for the disk, so that a slow disk does not delay payments.
	said, err := exec.CommandContext(ctx, "mariadb", "--no-defaults", "--socket="+filepath.Join(s.Dir(), "mysql", "mysql.sock"),
		"--execute=SET GLOBAL innodb_flush_log_at_trx_commit = 0").CombinedOutput()
	require.NoError(t, err, string(said))
	calm := pace{perSecond: 8, inFlight: 6} // there are twenty processes, beside those of the shared stack
	f := startFlow(t, s, calm)

	f.more(t, 60)
	requireAllCalled(t, s)
	for _, name := range ours {
		for _, instance := range s.Instances(name) {
			require.NoError(t, s.Stop(ctx, instance), instance)
			require.NoError(t, s.Start(ctx, instance), instance)
			require.NoError(t, s.WaitHealthy(ctx, instance), instance)
		}
		f.requireNoProblems(t, name+" restarted")
	}
	f.more(t, 60)
	requireAllCalled(t, s) // the present processes, which count from 0
	f.end()
	f.requireNoProblems(t, "at the end")
	f.requireTruth(t, twins)

	f = startFlow(t, s, calm)
	for n, name := range ours {
		f.more(t, 20)
		victim := s.Instances(name)[n%2]
		// Calls under way, and those in the second after, may fail; what they answer must still be true.
		f.strict.Store(false)
		require.NoError(t, s.Kill(ctx, victim))
		time.AfterFunc(time.Second, func() { f.strict.Store(true) })
		require.NoError(t, s.Stop(ctx, victim)) // before it is started again
		f.more(t, 20)
		f.requireNoProblems(t, "without "+victim)
		require.NoError(t, s.Start(ctx, victim), victim)
		require.NoError(t, s.WaitHealthy(ctx, victim), victim)
	}
	f.more(t, 20)
	f.end()
	f.requireNoProblems(t, "at the end")
	f.requireTruth(t, kills)
}

// requireAllCalled requires that each instance has answered calls; at the coordinator calls for payments count.
func requireAllCalled(t *testing.T, s *stack.Stack) {
	t.Helper()
	metrics := map[string][]string{
		"gateway": {"/metrics", `gateway_call_seconds_count{code="200",operation="/order.v1.Orders/PayOrder"}`},
		"dtm":     {"/api/metrics", `dtm_server_process_total{api="submit",status="ok",type="grpc"}`, `dtm_branch_process_total`},
	}
	for _, name := range ours {
		if name == "notify" { // it is not called here: it consumes
			for _, instance := range s.Instances(name) {
				assert.Eventually(t, func() bool {
					return measured(t, s.Admin(instance)+"/metrics", `mq_consume_duration_seconds_count{group="notify-orders"}`) > 0
				}, time.Minute, 100*time.Millisecond, "%s takes its part of the events", instance)
			}
			continue
		}
		wanted := metrics[name]
		if wanted == nil {
			wanted = []string{"/metrics", "rpc_server_call_duration_seconds_count"}
		}
		for _, instance := range s.Instances(name) {
			for _, metric := range wanted[1:] {
				assert.Positive(t, measured(t, s.Admin(instance)+wanted[0], metric), "%s of %s", metric, instance)
			}
		}
	}
}
