package stack

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/deploy/prepare"
	"example.com/fourfold/deploy/system"
)

// TestOneInstance: without the flag there is one instance of each process, under its usual name and ports.
func TestOneInstance(t *testing.T) {
	t.Parallel()
	ports, _, err := choosePorts(Options{})
	require.NoError(t, err)
	s := &Stack{vars: variables("/root", "/data", ports, prepare.Secrets{}, Options{})}
	assert.Equal(t, system.Names(), s.Names())
	assert.Equal(t, []string{"order"}, s.Instances("order"))
	assert.Equal(t, []string{"http://127.0.0.1:8080"}, s.Target().Gateways)
	assert.Equal(t, "http://127.0.0.1:16789", s.Admin("dtm"))
	assert.Equal(t, "127.0.0.1:9001", s.vars["ORDER_ADDR"])
	assert.Equal(t, "127.0.0.1:16790", s.vars["DTM_ADDR"])
	assert.Empty(t, s.Admin("order-2"))
	require.ErrorContains(t, s.Health(t.Context(), "order-2"), `no process "order-2"`)
	for name := range s.vars {
		assert.NotContains(t, name, "_2")
	}
}

// TestTwoInstances: each of our processes has a second instance with ports of its own, and its peers know both.
func TestTwoInstances(t *testing.T) {
	t.Parallel()
	o := Options{Replicas: 2, Env: map[string]string{"PORT_OFFSET": "100", "PORT_CREDIT_2": "5555"}}
	ports, _, err := choosePorts(o)
	require.NoError(t, err)
	taken := slices.Collect(maps.Values(ports))
	slices.Sort(taken)
	assert.Len(t, slices.Compact(taken), len(ports), "a port for each: %v", ports)

	s := &Stack{vars: variables("/root", "/data", ports, prepare.Secrets{}, o)}
	var names []string
	for _, name := range system.Names() {
		names = append(names, name)
		if !strings.Contains("namesrv broker mariadb redis queues", name) {
			names = append(names, name+"-2")
		}
	}
	assert.Equal(t, names, s.Names())
	assert.Equal(t, []string{"http://127.0.0.1:8180", "http://127.0.0.1:8190"}, s.Target().Gateways)
	assert.Equal(t, "http://127.0.0.1:8180", s.Gateway())
	assert.Equal(t, "127.0.0.1:9101,127.0.0.1:9111", s.vars["ORDER_ADDR"])
	assert.Equal(t, "127.0.0.1:9103,127.0.0.1:5555", s.vars["CREDIT_ADDR"])
	assert.Equal(t, "127.0.0.1:16890,127.0.0.1:16900", s.vars["DTM_ADDR"])
	assert.Equal(t, "http://127.0.0.1:16889,http://127.0.0.1:16899", s.vars["DTM_ADMIN"])
	assert.Equal(t, "http://127.0.0.1:16899", s.Admin("dtm-2"))
	assert.Equal(t, "http://127.0.0.1:9211", s.Admin("order-2"))
	assert.Equal(t, []string{"mariadb"}, s.Instances("mariadb"))
	assert.Equal(t, "127.0.0.1:16480", s.vars["QUEUES_ADDR"])

	_, err = Up(t.Context(), Options{Dir: t.TempDir(), Replicas: 3})
	require.ErrorContains(t, err, "REPLICAS=3")
}
