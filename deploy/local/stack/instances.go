package stack

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"example.com/fourfold/deploy/system"
)

// Replicas returns how many instances of each service, of the gateway and of the coordinator the stack has.
func (s *Stack) Replicas() int { return max(1, atoi(s.vars["REPLICAS"])) }

// Names returns the processes of this stack in the order they are shown, second instances after the first.
func (s *Stack) Names() []string {
	var names []string
	for _, p := range system.Processes {
		names = append(names, p.Instances(s.Replicas())...)
	}
	return names
}

// Instances returns the names of all instances of a process: "order", "order-2".
func (s *Stack) Instances(name string) []string { return system.Find(name).Instances(s.Replicas()) }

// known returns an error unless name is a process of this stack.
func (s *Stack) known(name string) error {
	if names := s.Names(); !slices.Contains(names, name) {
		return fmt.Errorf("there is no process %q: there are %s", name, strings.Join(names, ", "))
	}
	return nil
}

// projectFile is process-compose's project: what one instance of each process is started with.
func projectFile(root string) string { return filepath.Join(root, "deploy/local/process-compose.yaml") }

// secondFile holds, in the data folder, the second instances.
const secondFile = "process-compose.second.yaml"

// projectFiles returns the text of the files that process-compose reads once, when it starts, by name. The second instances are derived from the
// first: their ports and logs are their own, the rest is the same.
func projectFiles(root string, replicas int) (map[string][]byte, error) {
	file := projectFile(root)
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{file: text}
	if replicas > 1 {
		if files[secondFile], err = secondInstances(text); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return files, nil
}

// writeProject writes the file of the second instances, if there are any, into the data folder.
func writeProject(root, dir string, replicas int) error {
	files, err := projectFiles(root, replicas)
	if err != nil || replicas == 1 {
		return err
	}
	return os.WriteFile(filepath.Join(dir, secondFile), files[secondFile], 0o600)
}

func secondInstances(project []byte) ([]byte, error) {
	var first struct {
		Version   string
		Processes map[string]map[string]any
	}
	if err := yaml.Unmarshal(project, &first); err != nil {
		return nil, err
	}
	second := func(name string) string {
		instances := system.Find(name).Instances(system.MaxReplicas)
		return instances[len(instances)-1]
	}
	processes := map[string]any{}
	for name, process := range first.Processes {
		own := second(name)
		if own == name {
			continue
		}
		if before, ok := process["depends_on"].(map[string]any); ok {
			after := map[string]any{}
			for other, condition := range before {
				after[second(other)] = condition
			}
			process["depends_on"] = after
		}
		text, err := yaml.Marshal(process)
		if err != nil {
			return nil, err
		}
		port, ownPort := "${"+system.PortVariable(name, ""), "${"+system.PortVariable(own, "")
		changed := strings.NewReplacer(port+"}", ownPort+"}", port+"_", ownPort+"_", "/"+name+".log", "/"+own+".log").Replace(string(text))
		var instance any
		if err := yaml.Unmarshal([]byte(changed), &instance); err != nil {
			return nil, err
		}
		processes[own] = instance
	}
	return yaml.Marshal(map[string]any{"version": first.Version, "processes": processes})
}
