package system

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Target says where a running system is and who signs in there, however it was brought up.
type Target struct {
	// Gateway is the base URL of the public API.
	Gateway  string  `json:"gateway"`
	Operator Account `json:"operator"`
	Shopper  Account `json:"shopper"`
	// MySQL is the login of a user who reads what people look at, and writes nothing.
	MySQL Login `json:"mysql"`
	// Gateways are the base URLs of the public API at each gateway.
	Gateways []string `json:"gateways"`
	// Admin are the base URLs of the private ports, by instance; of the coordinator, of its HTTP API.
	Admin map[string]string `json:"admin"`
	// Queues is where the Redis is by which events go while the broker is away, and Broker the broker: host:port.
	Queues string `json:"queues"`
	Broker string `json:"broker"`
}

// Account is a member's login.
type Account struct {
	Login    string `json:"login"`
	Password string `json:"password"`
}

// Login is a user of the database server.
type Login struct {
	Host     string `json:"host"`
	Port     int    `json:"port"`
	User     string `json:"user"`
	Password string `json:"password"`
}

// DSN returns the address of a database for go-sql-driver.
func (l Login) DSN(database string) string {
	return fmt.Sprintf("%s:%s@tcp(%s:%d)/%s", l.User, l.Password, l.Host, l.Port, database)
}

// Instances returns the instances of a process that have a private port.
func (t Target) Instances(process string) []string {
	var names []string
	for _, name := range Find(process).Instances(MaxReplicas) {
		if t.Admin[name] != "" {
			names = append(names, name)
		}
	}
	return names
}

// targetFile holds the target of the system in a data folder.
const targetFile = "demo.json"

// Write writes the target into a data folder. Only its owner may read the file.
func (t Target) Write(dir string) error {
	text, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	file := filepath.Join(dir, targetFile)
	if err := os.WriteFile(file+".new", append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// ReadTarget reads the target of a data folder.
func ReadTarget(dir string) (Target, error) { return ReadTargetFile(filepath.Join(dir, targetFile)) }

// ReadTargetFile reads a file that Write has written.
func ReadTargetFile(file string) (t Target, err error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return t, fmt.Errorf("%w: is the system up? `make up` writes this file", err)
	}
	if err == nil {
		err = json.Unmarshal(text, &t)
	}
	if err != nil {
		return t, fmt.Errorf("%s: %w", file, err)
	}
	return t, nil
}
