package stack

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
)

// secrets are created at the first start and kept in secrets.json.
type secrets struct {
	// MySQL holds a password for each user of the database server.
	MySQL map[string]string `json:"mysql"`
	// BranchKey is 32 bytes in hex.
	BranchKey string `json:"branch_key"`
	// EventKey is 32 bytes in hex.
	EventKey string `json:"event_key"`
	Operator string `json:"operator_password"`
	Shopper  string `json:"shopper_password"`
}

// loadSecrets reads dir's secrets and creates those that are missing.
func loadSecrets(dir string) (secrets, error) {
	var s secrets
	file := filepath.Join(dir, "secrets.json")
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return secrets{}, fmt.Errorf("%s: %w: delete the data folder to start from nothing", file, err)
	}
	before := string(data)
	if s.MySQL == nil {
		s.MySQL = map[string]string{}
	}
	for _, user := range append([]string{"dtm", reader}, services...) {
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
	return s, writeSecret(file, data)
}

// random returns n random bytes in hex.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// writeKeys creates the key that signs access tokens, unless it is there: the private half for member, the public half for all services.
func writeKeys(dir string) error {
	private := filepath.Join(dir, "keys/member/k1.pem")
	public := filepath.Join(dir, "keys/identity/k1.pem")
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
	err = writeSecret(private, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
	if err != nil {
		return err
	}
	return writeSecret(public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pubDER}))
}

// writeSecret writes a whole file or nothing. Only its owner may read it.
func writeSecret(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
