// Package identity establishes who calls: access tokens (EdDSA JWTs that name their key), and the guard that holds every RPC to the access level
// written beside it in its proto.
package identity

import (
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/protobuf/proto"

	accessv1 "example.com/fourfold/api/access/v1"
)

// Role is what a member may do: the name that a level of access.v1.Level has as (access.v1.role).
type Role string

// level returns the level that r reaches, LEVEL_UNSPECIFIED when no level has its name.
func (r Role) level() accessv1.Level { return levels()[r] }

var levels = sync.OnceValue(func() map[Role]accessv1.Level {
	of := map[Role]accessv1.Level{}
	values := accessv1.Level(0).Descriptor().Values()
	for i := range values.Len() {
		v := values.Get(i)
		if name, _ := proto.GetExtension(v.Options(), accessv1.E_Role).(string); name != "" {
			of[Role(name)] = accessv1.Level(v.Number())
		}
	}
	return of
})

// Caller is who makes a call. The zero Caller is nobody.
type Caller struct {
	MemberID string
	Role     Role
	// Epoch is the member's epoch when the token was made: Endings.
	Epoch int64
}

const (
	issuer   = "fourfold/member"
	audience = "fourfold"
)

// ErrToken is the error of Verify for every token it does not accept.
var ErrToken = errors.New("the access token is not valid")

type claims struct {
	Role  Role  `json:"role"`
	Epoch int64 `json:"epoch,omitempty"`
	jwt.RegisteredClaims
}

// Signer makes access tokens. Only the member service has one.
type Signer struct {
	keyID string
	key   ed25519.PrivateKey
}

// LoadSigner reads an Ed25519 private key (PKCS #8, PEM) from the file <key id>.pem.
func LoadSigner(path string) (*Signer, error) {
	key, err := readKey(path, x509.ParsePKCS8PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("read the signing key: %w: `openssl genpkey -algorithm ed25519` makes one", err)
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("read the signing key: %s holds a %T: `openssl genpkey -algorithm ed25519` makes one that fits", path, key)
	}
	return NewSigner(keyID(path), private), nil
}

// NewSigner returns a Signer that signs with key and names it keyID.
func NewSigner(keyID string, key ed25519.PrivateKey) *Signer { return &Signer{keyID, key} }

// Sign returns a token for c that is valid for ttl from now.
func (s *Signer) Sign(c Caller, now time.Time, ttl time.Duration) (string, error) {
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims{c.Role, c.Epoch, jwt.RegisteredClaims{
		Issuer:    issuer,
		Audience:  jwt.ClaimStrings{audience},
		Subject:   c.MemberID,
		IssuedAt:  jwt.NewNumericDate(now),
		ExpiresAt: jwt.NewNumericDate(now.Add(ttl)),
	}})
	t.Header["kid"] = s.keyID
	return t.SignedString(s.key)
}

// Secret returns 32 bytes for purpose that only a holder of the signing key can know; they tell nothing of the key.
func (s *Signer) Secret(purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, s.key.Seed(), nil, issuer+" "+purpose, sha256.Size)
}

// Verifier checks access tokens with public keys.
type Verifier struct {
	keys    map[string]ed25519.PublicKey
	parser  *jwt.Parser
	endings *Endings // nil when tokens are good until they expire
}

// LoadVerifier reads every <key id>.pem (an Ed25519 public key, PKIX) in dir. There must be at least one.
func LoadVerifier(dir string) (*Verifier, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no public key (<key id>.pem) in identity_keys %q: `openssl pkey -pubout` makes it of the signing key", dir)
	}
	keys := map[string]ed25519.PublicKey{}
	for _, path := range files {
		key, err := readKey(path, x509.ParsePKIXPublicKey)
		if err != nil {
			return nil, fmt.Errorf("read a public key: %w: only public keys (<key id>.pem) belong in identity_keys", err)
		}
		public, ok := key.(ed25519.PublicKey)
		if !ok {
			return nil, fmt.Errorf("read a public key: %s holds a %T: only Ed25519 keys belong in identity_keys", path, key)
		}
		keys[keyID(path)] = public
	}
	return NewVerifier(keys), nil
}

// NewVerifier returns a Verifier that accepts tokens signed by the private halves of keys, which are by key id.
func NewVerifier(keys map[string]ed25519.PublicKey) *Verifier {
	return &Verifier{keys: keys, parser: jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodEdDSA.Alg()}),
		jwt.WithIssuer(issuer),
		jwt.WithAudience(audience),
		jwt.WithExpirationRequired(),
	)}
}

// Heed returns a Verifier with the same keys that does not accept tokens that e says have ended.
func (v *Verifier) Heed(e *Endings) *Verifier { return &Verifier{v.keys, v.parser, e} }

// Verify returns the caller that token names, or ErrToken.
func (v *Verifier) Verify(token string) (Caller, error) {
	var c claims
	_, err := v.parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) {
		id, _ := t.Header["kid"].(string)
		key, ok := v.keys[id]
		if !ok {
			return nil, fmt.Errorf("unknown key %q", id)
		}
		return key, nil
	})
	switch {
	case err != nil:
		return Caller{}, fmt.Errorf("%w: %w", ErrToken, err)
	case c.Subject == "", c.Role.level() == accessv1.Level_LEVEL_UNSPECIFIED:
		return Caller{}, fmt.Errorf("%w: it names no member or no role", ErrToken)
	}
	caller := Caller{c.Subject, c.Role, c.Epoch}
	if v.endings.Ended(caller) {
		return Caller{}, fmt.Errorf("%w: it was ended", ErrToken)
	}
	return caller, nil
}

type callerKey struct{}

// NewContext returns a context that carries c.
func NewContext(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// FromContext returns the caller that Guard found, the zero Caller when there is none.
func FromContext(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

func keyID(path string) string { return strings.TrimSuffix(filepath.Base(path), ".pem") }

func readKey(path string, parse func(der []byte) (any, error)) (any, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s: not a PEM file", path)
	}
	key, err := parse(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}
