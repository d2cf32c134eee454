// Package system is the one list of what the system consists of: the processes, their ports, and how each of them says that it is healthy. The
// ways to bring it up, the demo and the tests use it. The files that people read, process-compose.yaml and compose.yaml, are compared with it by
// a test.
package system

import (
	"slices"
	"strings"
)

// Process is one of the processes.
type Process struct {
	Name string
	// Ports are its default ports by role; "" is the one that others call.
	Ports map[string]int
	// Healthy says what it is asked.
	Healthy Probe
	// Database says that it is a service of ours with the database shop_<name>, as a user of its own.
	Database bool
	// Participant says that it takes part in payments: it has the keys of branches.
	Participant bool
	// Single says that there is always one of it; of the others there may be two.
	Single bool
}

// Probe is a question by which a process tells that it is healthy.
type Probe struct {
	// Path is asked by HTTP at the port of Role. It is empty for a process with another protocol.
	Role, Path string
}

// The roles of ports.
const (
	// Admin is for operators and probes: health, metrics, failpoints. It has no authentication.
	Admin = "ADMIN"
	// GRPC is the coordinator's second port.
	GRPC = "GRPC"
	// Metrics is the broker's.
	Metrics = "METRICS"
)

var readyz = Probe{Admin, "/readyz"}

// Processes are all of them, in the order in which they are shown. Every port is below port.Ephemeral, so that no client's connection takes it
// while its process is away.
var Processes = []Process{
	{Name: "gateway", Ports: map[string]int{"": 8080, Admin: 9100}, Healthy: readyz},
	{Name: "order", Ports: map[string]int{"": 9001, Admin: 9101}, Healthy: readyz, Database: true, Participant: true},
	{Name: "inventory", Ports: map[string]int{"": 9002, Admin: 9102}, Healthy: readyz, Database: true, Participant: true},
	{Name: "credit", Ports: map[string]int{"": 9003, Admin: 9103}, Healthy: readyz, Database: true, Participant: true},
	{Name: "wms", Ports: map[string]int{"": 9004, Admin: 9104}, Healthy: readyz, Database: true, Participant: true},
	{Name: "member", Ports: map[string]int{"": 9005, Admin: 9105}, Healthy: readyz, Database: true},
	{Name: "notify", Ports: map[string]int{"": 9006, Admin: 9106}, Healthy: readyz, Database: true},
	{Name: "dtm", Ports: map[string]int{"": 16789, GRPC: 16790}, Healthy: Probe{"", "/api/dtmsvr/version"}},
	{Name: "namesrv", Ports: map[string]int{"": 9876}, Single: true},
	{Name: "broker", Ports: map[string]int{"": 10911, Metrics: 5557}, Single: true},
	{Name: "mariadb", Ports: map[string]int{"": 13306}, Single: true},
	{Name: "redis", Ports: map[string]int{"": 16379}, Single: true},
	{Name: "queues", Ports: map[string]int{"": 16380}, Single: true},
}

// second is the suffix of a second instance's name, order-2; its ports are secondPorts above the first's.
const (
	second      = "-2"
	secondPorts = 10
)

// MaxReplicas is how many instances there can be of a process that is not Single.
const MaxReplicas = 2

// Names returns the names of the processes, one instance each.
func Names() []string {
	var names []string
	for _, p := range Processes {
		names = append(names, p.Name)
	}
	return names
}

// Databases returns the services with a database of their own.
func Databases() []string {
	var names []string
	for _, p := range Processes {
		if p.Database {
			names = append(names, p.Name)
		}
	}
	return names
}

// Find returns the process that an instance is one of: order for order-2. Its Name is empty when there is none.
func Find(instance string) Process {
	name := strings.TrimSuffix(instance, second)
	i := slices.IndexFunc(Processes, func(p Process) bool { return p.Name == name && (name == instance || !p.Single) })
	if i < 0 {
		return Process{}
	}
	return Processes[i]
}

// Instances returns the names of its instances: order, and with replicas 2 order-2.
func (p Process) Instances(replicas int) []string {
	if replicas < 2 || p.Single {
		return []string{p.Name}
	}
	return []string{p.Name, p.Name + second}
}

// Variable returns how an instance's name is written in those of variables: ORDER_2.
func Variable(instance string) string { return strings.ToUpper(strings.ReplaceAll(instance, "-", "_")) }
