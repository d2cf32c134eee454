package stack

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const project = `
version: "0.5"
processes: {order: {}}`

// TestFingerprint: the fingerprint changes with the files that process-compose reads, and with nothing that a caller chooses.
func TestFingerprint(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, dir := range []string{"local", "rocketmq"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, "deploy", dir), 0o700))
	}
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(root, "deploy/local", name), []byte(text), 0o600))
	}
	for _, name := range []string{"java.options", "namesrv.conf", "broker.conf"} {
		write("../rocketmq/"+name, "a")
	}
	of := func(replicas int) string {
		f, err := fingerprint(root, replicas)
		require.NoError(t, err)
		return f
	}
	write("process-compose.yaml", project)
	one, two := of(1), of(2)
	assert.Equal(t, one, of(1))
	assert.NotEqual(t, one, two)

	s := &Stack{root: root, vars: map[string]string{"REPLICAS": "2", fingerprintVariable: two, "ORDER_TTL": "77m"}}
	assert.Empty(t, s.outdated(Options{}))
	assert.Empty(t, s.outdated(Options{Replicas: 2, Env: map[string]string{"ORDER_TTL": "77m"}}))
	assert.Equal(t, "it ran with 2 of each", s.outdated(Options{Replicas: 1}))
	assert.Equal(t, "it ran with another LIMIT_CALLS", s.outdated(Options{Env: map[string]string{"LIMIT_CALLS": "0", "ORDER_TTL": "77m"}}))

	require.NoError(t, os.Mkdir(filepath.Join(root, "gateway"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(root, "gateway/config.yaml"), []byte("limit: ${LIMIT_CALLS:50}"), 0o600))
	assert.Empty(t, s.outdated(Options{Env: map[string]string{"LIMIT_CALLS": "50", "PORT_OFFSET": "0", "PORT_ORDER_3": "9"}}), "as it is")
	assert.Equal(t, "it ran with another LIMIT_CALLS", s.outdated(Options{Env: map[string]string{"LIMIT_CALLS": "0"}}))

	write("process-compose.yaml", project+"\n")
	assert.NotEqual(t, one, of(1))
	assert.NotEqual(t, two, of(2))
	assert.Contains(t, s.outdated(Options{}), "another version")
	one = of(1)
	write("../rocketmq/broker.conf", "b")
	assert.NotEqual(t, one, of(1))
	require.NoError(t, os.Remove(filepath.Join(root, "deploy/local/process-compose.yaml")))
	_, err := fingerprint(root, 1)
	require.Error(t, err)
}
