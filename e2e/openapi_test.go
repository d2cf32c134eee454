package e2e_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSchemathesis checks the gateway against its own description: schemathesis generates good and bad requests from it, and looks for a 5xx and
// for an answer whose code, type or body is not described. SCHEMATHESIS_SEED repeats or varies what it generates.
//
// It is sequential: it closes the warehouse, and forces the way of events, on the way.
func TestSchemathesis(t *testing.T) {
	defer func() {
		operator.must(t, 200, "PUT", "/v1/ops/warehouse", map[string]any{"open": true})
		operator.must(t, 200, "POST", "/v1/ops/mq", map[string]any{"mode": "AUTOMATIC", "reason": "the test is over"})
		requireBooks(t)
	}()
	someone := shopper(t)
	// Its environment is created before the time is measured.
	out, err := exec.CommandContext(t.Context(), "../scripts/schemathesis.sh", "--version").CombinedOutput()
	require.NoError(t, err, "%s", out)

	t.Run("routes", func(t *testing.T) {
		const all = "examples,coverage,fuzzing"
		for name, run := range map[string]struct {
			token string
			args  []string
		}{
			"operators": {operator.token, []string{"--phases", all, "--include-path-regex", "^/v1/ops/"}},
			// A stream of events has no end to wait for: TestLiveStatus and the gateway's own tests cover it.
			"shoppers": {someone.token, []string{"--phases", all, "--exclude-path-regex", "^/v1/(ops/|members$|orders/[^/]+/events$)"}},
			// The coverage phase takes half a minute to find out what a phone and an email may look like: TestHostileRequests covers that.
			"sign up": {someone.token, []string{"--phases", "examples,fuzzing", "--include-path-regex", "^/v1/members$"}},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				t.Log(schemathesis(t, run.token, run.args...))
			})
		}
	})
}

// schemathesis runs schemathesis with a member's token and returns its output.
func schemathesis(t *testing.T, token string, args ...string) string {
	t.Helper()
	seed := os.Getenv("SCHEMATHESIS_SEED")
	if seed == "" {
		seed = "1"
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	script, err := filepath.Abs("../scripts/schemathesis.sh")
	require.NoError(t, err)
	cmd := exec.CommandContext(ctx, script, append([]string{
		"run", target.Gateway + "/openapi.yaml",
		"--max-examples", "15", "--seed", seed,
		"--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
		"--header", "Authorization: Bearer " + token,
		"--max-redirects", "0", "--request-timeout", "15", "--continue-on-failure", "--no-shrink",
		// These complain about how hard it is to generate requests, not about answers.
		"--suppress-health-check", "data_too_large,filter_too_much,too_slow,large_base_example", "--warnings", "off",
		"--generation-database", "none", "--no-color",
	}, args...)...)
	cmd.Dir = t.TempDir() // it leaves .hypothesis behind
	cmd.WaitDelay = 5 * time.Second
	// No traffic to anywhere else: not through a proxy, and no settings from a parent folder. Hypothesis has its own settings for CI, in which
	// the health checks are on in spite of the flags above.
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "CI=") })
	cmd.Env = append(env, "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1", "SCHEMATHESIS_HOOKS=", "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.CombinedOutput()
	said := strings.ReplaceAll(string(out), token, "…")
	require.NoError(t, err, "%s", said)
	require.Regexp(t, `[1-9][0-9]* generated, [1-9][0-9]* passed`, said)
	return said
}
