package stack

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"example.com/fourfold/deploy/system"
)

// TestProject: process-compose.yaml, and the second instances that are derived from it, have the processes, ports and probes of the list.
func TestProject(t *testing.T) {
	t.Parallel()
	root, err := system.Root()
	require.NoError(t, err)
	files, err := projectFiles(root, system.MaxReplicas)
	require.NoError(t, err)
	processes := map[string]any{}
	for _, text := range files {
		var project struct{ Processes map[string]any }
		require.NoError(t, yaml.Unmarshal(text, &project))
		maps.Copy(processes, project.Processes)
	}
	var names []string
	for _, p := range system.Processes {
		for _, name := range p.Instances(system.MaxReplicas) {
			names = append(names, name)
			require.Contains(t, processes, name)
			text, err := yaml.Marshal(processes[name])
			require.NoError(t, err)
			var ports, want []string
			for _, match := range regexp.MustCompile(`\$\{(PORT_\w+)\}`).FindAllStringSubmatch(string(text), -1) {
				ports = append(ports, match[1])
			}
			for role := range p.Ports {
				want = append(want, system.PortVariable(name, role))
			}
			if p.Name == "namesrv" || p.Name == "broker" { // the others are in deploy/rocketmq
				want = []string{system.PortVariable(name, "")}
			}
			slices.Sort(ports)
			assert.ElementsMatch(t, want, slices.Compact(ports), name)
			var process struct {
				Probe struct {
					Get map[string]string `yaml:"http_get"`
				} `yaml:"readiness_probe"`
			}
			require.NoError(t, yaml.Unmarshal(text, &process))
			if p.Healthy.Path == "" {
				assert.Empty(t, process.Probe.Get, name)
				continue
			}
			assert.Equal(t, map[string]string{"port": "${" + system.PortVariable(name, p.Healthy.Role) + "}", "path": p.Healthy.Path},
				process.Probe.Get, name)
		}
	}
	assert.ElementsMatch(t, names, slices.Collect(maps.Keys(processes)))

	text, err := os.ReadFile(projectFile(root))
	require.NoError(t, err)
	for _, service := range system.Databases() {
		name := system.Variable(service)
		assert.Contains(t, string(text), "\n  - "+name+"_ADDR=${"+name+"_ADDR}\n", "all are told where it is")
	}
}
