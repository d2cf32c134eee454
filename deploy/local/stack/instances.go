package stack

import (
	"fmt"
	"slices"
	"strings"
)

// second is the suffix of a second instance's name: order-2.
const second = "-2"

// maxReplicas is how many instances of each of our processes there can be.
const maxReplicas = 2

// Replicas returns how many instances of each service, of the gateway and of the coordinator the stack has.
func (s *Stack) Replicas() int { return max(1, number(s.vars["REPLICAS"])) }

// Names returns the processes of this stack in the order they are shown, second instances after the first.
func (s *Stack) Names() []string {
	var names []string
	for _, name := range Names() {
		names = append(names, s.Instances(name)...)
	}
	return names
}

// Instances returns the names of all instances of a process: "order", "order-2".
func (s *Stack) Instances(name string) []string {
	if s.Replicas() == 1 || single[name] {
		return []string{name}
	}
	return []string{name, name + second}
}

// single holds the processes of which there is always one.
var single = map[string]bool{"namesrv": true, "broker": true, "mariadb": true, "redis": true, "queues": true}

// programOf returns the process that an instance is one of: "order" for "order-2".
func programOf(name string) string { return strings.TrimSuffix(name, second) }

// variable returns the name of an instance's variable in stack.env: ORDER_2_ADMIN_ADDR.
func variable(name, suffix string) string {
	return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) + suffix
}

// known returns an error unless name is a process of this stack.
func (s *Stack) known(name string) error {
	if names := s.Names(); !slices.Contains(names, name) {
		return fmt.Errorf("there is no process %q: there are %s", name, strings.Join(names, ", "))
	}
	return nil
}
