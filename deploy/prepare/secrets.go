// Package prepare makes what a system needs before its processes are started, for whichever way it is brought up: secrets, keys, and what the
// database server is told about its users.
package prepare

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"example.com/fourfold/deploy/system"
)

// Secrets are created at the first start and kept in secrets.json.
type Secrets struct {
	// MySQL holds a password for each user of the database server.
	MySQL map[string]string `json:"mysql"`
	// BranchKey is 32 bytes in hex.
	BranchKey string `json:"branch_key"`
	// EventKey is 32 bytes in hex.
	EventKey string `json:"event_key"`
	// Operator and Shopper are the passwords of the members that every system has.
	Operator string `json:"operator_password"`
	Shopper  string `json:"shopper_password"`
}

// Load reads the data folder dir's secrets and creates those that are missing.
func Load(dir string) (Secrets, error) {
	var s Secrets
	file := filepath.Join(dir, "secrets.json")
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Secrets{}, fmt.Errorf("%s: %w: delete the data folder to start from nothing", file, err)
	}
	before := string(data)
	if s.MySQL == nil {
		s.MySQL = map[string]string{}
	}
	for _, user := range accounts() {
		if s.MySQL[user] == "" {
			s.MySQL[user] = random(16)
		}
	}
	for secret, bytes := range map[*string]int{&s.BranchKey: 32, &s.EventKey: 32, &s.Operator: 6, &s.Shopper: 6} {
		if *secret == "" {
			*secret = random(bytes)
		}
	}
	if data, err = json.MarshalIndent(s, "", "  "); err != nil || string(data) == before {
		return s, err
	}
	return s, Secret(file, data)
}

// keyID names the first key of each kind.
const keyID = "k1"

// BranchKeys returns the keys of branches as participants read them: id:hex.
func (s Secrets) BranchKeys() string { return keyID + ":" + s.BranchKey }

// EventKeys returns the keys of events as services read them: id:hex.
func (s Secrets) EventKeys() string { return keyID + ":" + s.EventKey }

// DSN returns the address of a service's database at the server addr, host:port, for go-sql-driver, as the user by which the service runs.
func (s Secrets) DSN(service, addr string) string { return s.dsn(service, service, addr) }

// OwnerDSN returns the same as the Owner of the database.
func (s Secrets) OwnerDSN(service, addr string) string { return s.dsn(service, Owner(service), addr) }

func (s Secrets) dsn(service, user, addr string) string {
	return fmt.Sprintf("%s:%s@tcp(%s)/shop_%s", user, s.MySQL[user], addr, service)
}

// Files returns what each process reads from files of its own, by process and name, for a database server at addr.
func (s Secrets) Files(addr string) map[string]map[string]string {
	files := map[string]map[string]string{
		"gateway": {"mq_keys": s.EventKeys()},
		"dtm":     {"store_password": s.MySQL["dtm"], "migrate_password": s.MySQL[Owner("dtm")]},
	}
	for _, p := range system.Processes {
		if p.Database {
			files[p.Name] = map[string]string{"dsn": s.DSN(p.Name, addr), "migrate_dsn": s.OwnerDSN(p.Name, addr), "mq_keys": s.EventKeys()}
		}
		if p.Participant {
			files[p.Name]["branch_keys"] = s.BranchKeys()
		}
	}
	return files
}

// random returns n random bytes in hex.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// Keys creates the key that signs access tokens, unless it is there: the private half for member, the public half for all services.
func Keys(dir string) error {
	private := filepath.Join(dir, "keys/member", keyID+".pem")
	public := filepath.Join(dir, "keys/identity", keyID+".pem")
	_, privateErr := os.Stat(private)
	_, publicErr := os.Stat(public)
	if privateErr == nil && publicErr == nil {
		return nil
	}
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	pubDER, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return err
	}
	err = Secret(private, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	if err != nil {
		return err
	}
	return Secret(public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pubDER}))
}

// Secret writes a whole file or nothing. Only its owner may read it.
func Secret(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
