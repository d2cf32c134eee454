package system

import (
	"cmp"
	"fmt"
	"strconv"
)

// Ports returns the default ports of all instances by the variable that chooses another one: PORT_ORDER_2_ADMIN.
func Ports(replicas int) map[string]int {
	ports := map[string]int{}
	for _, p := range Processes {
		for i, instance := range p.Instances(replicas) {
			for role, port := range p.Ports {
				ports[PortVariable(instance, role)] = port + i*secondPorts
			}
		}
	}
	return ports
}

// PortVariable returns the variable that chooses an instance's port: PORT_ORDER_2_ADMIN.
func PortVariable(instance, role string) string {
	name := "PORT_" + Variable(instance)
	if role != "" {
		name += "_" + role
	}
	return name
}

// The broker has a second port that cannot be chosen: it lies FastPort below the first.
const (
	PortBroker     = "PORT_BROKER"
	PortBrokerFast = "PORT_BROKER_FAST"
	FastPort       = 2
)

// PortOffset is the variable that shifts all ports that are not chosen.
const PortOffset = "PORT_OFFSET"

// MaxOffset keeps shifted ports below port.Ephemeral: a client's connection must not take the port of a process that is restarted.
const MaxOffset = 15000

// ChosenPorts returns the port of each variable of Ports, and PortBrokerFast: what env chooses, or the default one shifted by its PortOffset.
// With another, that returns the port of a variable that env does not choose instead.
func ChosenPorts(env map[string]string, replicas int, another func(variable string) (int, error)) (map[string]int, error) {
	offset, err := strconv.Atoi(cmp.Or(env[PortOffset], "0"))
	if err != nil || offset < 0 || offset > MaxOffset {
		return nil, fmt.Errorf("%s=%s: it is a number from 0 to %d", PortOffset, env[PortOffset], MaxOffset)
	}
	ports := Ports(replicas)
	for variable := range ports {
		if chosen := env[variable]; chosen != "" {
			ports[variable], err = strconv.Atoi(chosen)
			if err != nil || ports[variable] < 1 || ports[variable] > 65535 {
				return nil, fmt.Errorf("%s=%s: a port is a number from 1 to 65535", variable, chosen)
			}
		} else if another != nil {
			if ports[variable], err = another(variable); err != nil {
				return nil, err
			}
		} else {
			ports[variable] += offset
		}
	}
	fast := ports[PortBroker] - FastPort
	if chosen := env[PortBrokerFast]; chosen != "" && chosen != strconv.Itoa(fast) {
		return nil, fmt.Errorf("%s=%s: it is always %s - %d: choose that one", PortBrokerFast, chosen, PortBroker, FastPort)
	}
	ports[PortBrokerFast] = fast
	return ports, nil
}
