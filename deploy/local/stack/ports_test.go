package stack

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/port"
	"example.com/fourfold/deploy/system"
)

// TestDefaultPorts: no port is used twice or may be taken by a client's connection, even when shifted as far as possible.
func TestDefaultPorts(t *testing.T) {
	t.Parallel()
	for _, offset := range []int{0, system.MaxOffset} {
		ports, _, err := choosePorts(Options{Replicas: system.MaxReplicas, Env: map[string]string{"PORT_OFFSET": strconv.Itoa(offset)}})
		require.NoError(t, err)
		names := map[int]string{}
		for _, name := range slices.Sorted(maps.Keys(ports)) {
			assert.Less(t, ports[name], port.Ephemeral, "%s with PORT_OFFSET=%d", name, offset)
			assert.Empty(t, names[ports[name]], "%s has this port too, %s", name, ports[name])
			names[ports[name]] = name
		}
	}
}

// TestPortsOfConfigs: a service that is started alone uses the stack's ports for itself and for the others.
func TestPortsOfConfigs(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../../*/config.yaml")
	require.NoError(t, err)
	require.Len(t, files, len(system.Databases())+1)
	for _, file := range append(files, "../../dtm/settings.go") {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		named := regexp.MustCompile(`(?:127\.0\.0\.1:|_PORT": *")(\d+)`).FindAllStringSubmatch(string(text), -1)
		assert.NotEmpty(t, named, file)
		for _, match := range named {
			assert.Contains(t, slices.Collect(maps.Values(system.Ports(1))), atoi(match[1]), file)
		}
	}
}
