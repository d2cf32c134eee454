package stack

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/deploy/system"
)

// TestChosen: whatever a config.yaml names can be chosen from outside, or is refused.
func TestChosen(t *testing.T) {
	t.Parallel()
	root, err := system.Root()
	require.NoError(t, err)
	all, err := system.Settings(root)
	require.NoError(t, err)
	decided, err := decided(root)
	require.NoError(t, err)
	require.Greater(t, len(all), 60)
	for setting := range all {
		for _, name := range []string{setting, setting + "_FILE"} {
			env, err := Chosen(root, []string{"HOME=/root", "PORT_FORWARDED=1", name + "=7"})
			if decided[setting] {
				require.ErrorContains(t, err, name)
			} else {
				require.NoError(t, err)
				assert.Equal(t, map[string]string{name: "7"}, env)
			}
		}
	}
	env, err := Chosen(root, []string{"PORT_GATEWAY=8081", "PORT_OFFSET=100", "LIMIT_CALLS=0", "SMTP_FROM=shop@example.com", "LOG_LEVEL=debug",
		"ORDER_DSN=", "LANG=C"})
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"PORT_GATEWAY": "8081", "PORT_OFFSET": "100", "LIMIT_CALLS": "0", "SMTP_FROM": "shop@example.com",
		"LOG_LEVEL": "debug"}, env)
	_, err = Chosen(root, []string{"GATEWAY_LISTEN=0.0.0.0:80", "ORDER_DSN=x", "ORDER_ADMIN_LISTEN=:1"})
	require.EqualError(t, err, "GATEWAY_LISTEN=0.0.0.0:80: everything listens on 127.0.0.1 here; PORT_GATEWAY chooses the port\n"+
		"ORDER_DSN is set, and the stack decides it: unset it, or start that service by hand\n"+
		"ORDER_ADMIN_LISTEN=:1: everything listens on 127.0.0.1 here; PORT_ORDER_ADMIN chooses the port")
	for given, want := range map[string]string{"1": "true", "true": "true", "0": "false"} {
		env, err = Chosen(root, []string{"FAULTS=" + given})
		require.NoError(t, err)
		assert.Equal(t, map[string]string{"FAULTS": want}, env)
	}
	_, err = Chosen(root, []string{"FAULTS=yes"})
	require.EqualError(t, err, "FAULTS=yes: it is 1 or 0")
}
