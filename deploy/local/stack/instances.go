package stack

import (
	"fmt"
	"slices"
	"strings"
)

// second is what stands behind the name of a second instance: order-2.
const second = "-2"

// maxReplicas is how many of each process of ours there can be.
const maxReplicas = 2

// Replicas is how many instances of each service, of the gateway and of the coordinator the stack has.
func (s *Stack) Replicas() int { return max(1, number(s.vars["REPLICAS"])) }

// Names are the processes of this stack in the order they are shown, the second instances behind the first.
func (s *Stack) Names() []string {
	var names []string
	for _, name := range Names() {
		names = append(names, s.Instances(name)...)
	}
	return names
}

// Instances are the names of all instances of a process: "order", "order-2".
func (s *Stack) Instances(name string) []string {
	if s.Replicas() == 1 || single[name] {
		return []string{name}
	}
	return []string{name, name + second}
}

// single are the processes of which there is always one.
var single = map[string]bool{"namesrv": true, "broker": true, "mariadb": true, "redis": true}

// programOf is what an instance is one of.
func programOf(name string) string { return strings.TrimSuffix(name, second) }

// variable is the name of an instance's variable in stack.env: ORDER_2_ADMIN_ADDR.
func variable(name, suffix string) string {
	return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) + suffix
}

// known fails for what is no process of this stack.
func (s *Stack) known(name string) error {
	if names := s.Names(); !slices.Contains(names, name) {
		return fmt.Errorf("there is no process %q: there are %s", name, strings.Join(names, ", "))
	}
	return nil
}
