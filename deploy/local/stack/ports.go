package stack

import (
	"example.com/fourfold/chassis/port"
	"example.com/fourfold/deploy/system"
)

// choosePorts returns a port for each variable, as system.ChosenPorts, and the claims of random ones, which must be closed when the stack is
// down: between the choice and the start lies a build that can take minutes.
func choosePorts(o Options) (ports map[string]int, claims []*port.Claim, err error) {
	var random func(string) (int, error)
	if o.RandomPorts {
		random = func(variable string) (int, error) {
			var besides []int
			if variable == system.PortBroker {
				besides = []int{-system.FastPort}
			}
			claim, err := port.Take(besides...)
			if err != nil {
				return 0, err
			}
			claims = append(claims, claim)
			return claim.Port, nil
		}
	}
	ports, err = system.ChosenPorts(o.Env, o.Replicas, random)
	return ports, claims, err
}
