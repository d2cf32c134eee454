package stack

import (
	"strings"

	"example.com/fourfold/deploy/system"
)

// Dir returns the data folder.
func (s *Stack) Dir() string { return s.dir }

// addr returns where an instance listens, host:port, "" when this stack has no such port.
func (s *Stack) addr(instance, role string) string {
	port := s.vars[system.PortVariable(instance, role)]
	if port == "" {
		return ""
	}
	return "127.0.0.1:" + port
}

// base returns the base URL of an instance's port, "" when this stack has none.
func (s *Stack) base(instance, role string) string {
	addr := s.addr(instance, role)
	if addr == "" {
		return ""
	}
	return "http://" + addr
}

// Gateway returns the base URL of the public API at the first gateway.
func (s *Stack) Gateway() string { return s.base("gateway", "") }

// Admin returns the base URL of an instance's private port (for dtm, of the coordinator's HTTP API), "" when the process has none.
func (s *Stack) Admin(name string) string {
	if probe := system.Find(name).Healthy; probe.Path != "" {
		return s.base(name, probe.Role)
	}
	return ""
}

// DSN returns the address of a database, for example shop_order, for go-sql-driver, as its service runs: it reads and writes rows.
func (s *Stack) DSN(db string) string {
	return s.secrets.DSN(strings.TrimPrefix(db, "shop_"), s.addr("mariadb", ""))
}

// Database returns where the database server listens: host:port.
func (s *Stack) Database() string { return s.addr("mariadb", "") }

// OwnerDSN returns the same as the user that may change the tables.
func (s *Stack) OwnerDSN(db string) string {
	return s.secrets.OwnerDSN(strings.TrimPrefix(db, "shop_"), s.addr("mariadb", ""))
}

// ReaderDSN returns the address of a database for go-sql-driver, as the user who may read the tables that people look at (prepare.Readable) and
// write none.
func (s *Stack) ReaderDSN(db string) string {
	return s.Target().MySQL.DSN(db)
}

// RPC returns where a service or the coordinator takes gRPC calls, all instances: host:port,host:port.
func (s *Stack) RPC(name string) string { return s.vars[system.Variable(name)+"_ADDR"] }

// NameServers returns the addresses of the name servers: host:port, separated by commas.
func (s *Stack) NameServers() string { return s.vars["MQ_NAME_SERVERS"] }

// Queues returns the address of the Redis by which events go while the broker is away: host:port.
func (s *Stack) Queues() string { return s.vars["QUEUES_ADDR"] }

// EventKeys returns the keys that events are signed with: id:hex, separated by commas.
func (s *Stack) EventKeys() string { return s.vars["MQ_KEYS"] }
