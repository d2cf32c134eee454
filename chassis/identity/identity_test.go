package identity_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	accessv1 "example.com/fourfold/api/access/v1"
	"example.com/fourfold/chassis/identity"
)

var shopper = identity.Caller{MemberID: "m-1", Role: accessv1.Shopper}

func newKey(t *testing.T) (ed25519.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return public, private
}

// pair is a signer with key "k1" and a verifier that knows it.
func pair(t *testing.T) (*identity.Signer, *identity.Verifier) {
	t.Helper()
	public, private := newKey(t)
	return identity.NewSigner("k1", private), identity.NewVerifier(map[string]ed25519.PublicKey{"k1": public})
}

func TestVerifyGivesTheSignedCaller(t *testing.T) {
	t.Parallel()
	s, v := pair(t)
	for _, want := range []identity.Caller{shopper, {MemberID: "m-2", Role: accessv1.Operator}} {
		token, err := s.Sign(want, time.Now(), time.Hour)
		require.NoError(t, err)
		got, err := v.Verify(token)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
}

func TestVerifyKnowsSeveralKeys(t *testing.T) {
	t.Parallel()
	public1, private1 := newKey(t)
	public2, private2 := newKey(t)
	v := identity.NewVerifier(map[string]ed25519.PublicKey{"old": public1, "new": public2})
	for id, key := range map[string]ed25519.PrivateKey{"old": private1, "new": private2} {
		token, err := identity.NewSigner(id, key).Sign(shopper, time.Now(), time.Hour)
		require.NoError(t, err)
		_, err = v.Verify(token)
		require.NoError(t, err, id)
	}
	token, err := identity.NewSigner("old", private2).Sign(shopper, time.Now(), time.Hour)
	require.NoError(t, err)
	_, err = v.Verify(token)
	require.ErrorIs(t, err, identity.ErrToken, "a known key under another's id")
}

// TestVerifyRefuses changes one thing of a good token at a time.
func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	public, private := newKey(t)
	_, stranger := newKey(t)
	v := identity.NewVerifier(map[string]ed25519.PublicKey{"k1": public})
	spki, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)

	type token struct {
		method jwt.SigningMethod
		key    any
		header map[string]any
		claims jwt.MapClaims
	}
	sign := func(t *testing.T, change func(*token)) string {
		now := time.Now()
		tok := &token{jwt.SigningMethodEdDSA, private, map[string]any{"kid": "k1"}, jwt.MapClaims{
			"iss": "fourfold/member", "aud": "fourfold", "sub": "m-1", "role": "shopper",
			"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		}}
		change(tok)
		j := jwt.NewWithClaims(tok.method, tok.claims)
		for k, value := range tok.header {
			j.Header[k] = value
		}
		s, err := j.SignedString(tok.key)
		require.NoError(t, err)
		return s
	}
	claim := func(name string, value any) func(*token) {
		return func(tok *token) {
			if value == nil {
				delete(tok.claims, name)
				return
			}
			tok.claims[name] = value
		}
	}
	_, err = v.Verify(sign(t, func(*token) {}))
	require.NoError(t, err, "unchanged, it is good")

	foreign := map[string]bool{
		"not signed": true, "HS256 with the public key": true, "HS256 with the key as DER": true,
		"HS256 with the key as PEM": true, "signed by another algorithm": true,
	}
	for name, change := range map[string]func(*token){
		"expired":                      claim("exp", time.Now().Add(-time.Second).Unix()),
		"without expiry":               claim("exp", nil),
		"not yet valid":                claim("nbf", time.Now().Add(time.Minute).Unix()),
		"of another issuer":            claim("iss", "fourfold/order"),
		"without issuer":               claim("iss", nil),
		"for another audience":         claim("aud", "elsewhere"),
		"without audience":             claim("aud", nil),
		"without subject":              claim("sub", nil),
		"with an empty subject":        claim("sub", ""),
		"with a subject not a text":    claim("sub", 7),
		"with an unknown role":         claim("role", "admin"),
		"with a role of another case":  claim("role", "Operator"),
		"without role":                 claim("role", nil),
		"with an unknown key id":       func(tok *token) { tok.header["kid"] = "k2" },
		"without key id":               func(tok *token) { tok.header = nil },
		"with a key id not a text":     func(tok *token) { tok.header["kid"] = 1 },
		"signed by another key":        func(tok *token) { tok.key = stranger },
		"not signed":                   func(tok *token) { tok.method, tok.key = jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType },
		"HS256 with the public key":    func(tok *token) { tok.method, tok.key = jwt.SigningMethodHS256, []byte(public) },
		"HS256 with the key as DER":    func(tok *token) { tok.method, tok.key = jwt.SigningMethodHS256, spki },
		"HS256 with the key as PEM":    func(tok *token) { tok.method, tok.key = jwt.SigningMethodHS256, pemOf("PUBLIC KEY", spki) },
		"signed by another algorithm":  func(tok *token) { tok.method, tok.key = jwt.SigningMethodES256, ecKey(t) },
		"with its algorithm misspelt":  func(tok *token) { tok.header["alg"] = "eddsa" },
		"with its algorithm left out":  func(tok *token) { tok.header["alg"] = "" },
		"with none as named algorithm": func(tok *token) { tok.header["alg"] = "none" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := v.Verify(sign(t, change))
			require.ErrorIs(t, err, identity.ErrToken)
			assert.Zero(t, got)
			if foreign[name] {
				assert.ErrorContains(t, err, "signing method", "refused for its algorithm, before any key is looked at")
			}
		})
	}
}

func TestVerifyRefusesATamperedToken(t *testing.T) {
	t.Parallel()
	s, v := pair(t)
	token, err := s.Sign(shopper, time.Now(), time.Hour)
	require.NoError(t, err)
	part := strings.Split(token, ".")
	payload, err := base64.RawURLEncoding.DecodeString(part[1])
	require.NoError(t, err)
	promoted := strings.Replace(string(payload), `"shopper"`, `"operator"`, 1)
	require.NotEqual(t, string(payload), promoted)
	signature, err := base64.RawURLEncoding.DecodeString(part[2])
	require.NoError(t, err)
	signature[0] ^= 1

	encode := base64.RawURLEncoding.EncodeToString
	for name, bad := range map[string]string{
		"payload":         part[0] + "." + encode([]byte(promoted)) + "." + part[2],
		"signature":       part[0] + "." + part[1] + "." + encode(signature),
		"no signature":    part[0] + "." + part[1] + ".",
		"two parts":       part[0] + "." + part[1],
		"a space":         " " + token,
		"empty":           "",
		"not a token":     "x",
		"several in line": token + "." + token,
	} {
		_, err := v.Verify(bad)
		require.ErrorIs(t, err, identity.ErrToken, name)
	}
}

func TestAnExpiredTokenWasGoodBefore(t *testing.T) {
	t.Parallel()
	s, v := pair(t)
	for ago, good := range map[time.Duration]bool{50 * time.Minute: true, 61 * time.Minute: false} {
		token, err := s.Sign(shopper, time.Now().Add(-ago), time.Hour)
		require.NoError(t, err)
		_, err = v.Verify(token)
		assert.Equal(t, good, err == nil, "signed %s ago for an hour: %v", ago, err)
	}
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func ecKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

// files returns the PEM form of both halves of a key of any kind.
func files(t *testing.T, public, private any) (publicPEM, privatePEM []byte) {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return pemOf("PUBLIC KEY", der), pemOf("PRIVATE KEY", pkcs8)
}

func TestKeysFromFiles(t *testing.T) {
	t.Parallel()
	public, private := newKey(t)
	publicPEM, privatePEM := files(t, public, private)
	secret, dir := filepath.Join(t.TempDir(), "k7.pem"), t.TempDir()
	require.NoError(t, os.WriteFile(secret, privatePEM, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "k7.pem"), publicPEM, 0o600))
	other, _ := newKey(t)
	otherPEM, _ := files(t, other, private)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "k6.pem"), otherPEM, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "README"), []byte("not a key"), 0o600))

	s, err := identity.LoadSigner(secret)
	require.NoError(t, err)
	v, err := identity.LoadVerifier(dir)
	require.NoError(t, err)
	token, err := s.Sign(shopper, time.Now(), time.Hour)
	require.NoError(t, err)
	got, err := v.Verify(token)
	require.NoError(t, err, "the key id is the file's name")
	assert.Equal(t, shopper, got)
}

// TestBadKeyFiles: the error names the file and says what to do.
func TestBadKeyFiles(t *testing.T) {
	t.Parallel()
	public, private := newKey(t)
	publicPEM, privatePEM := files(t, public, private)
	ec := ecKey(t)
	ecPublic, ecPrivate := files(t, &ec.PublicKey, ec)
	const genpkey, onlyPublic, onlyEd25519 = "`openssl genpkey -algorithm ed25519` makes", "only public keys", "only Ed25519 keys"
	for name, c := range map[string]struct {
		content          []byte
		signer, verifier string
	}{
		"no PEM":              {[]byte("hello"), genpkey, onlyPublic},
		"empty":               {nil, genpkey, onlyPublic},
		"PEM of nothing":      {pemOf("PRIVATE KEY", []byte("x")), genpkey, onlyPublic},
		"the other half":      {publicPEM, genpkey, ""},
		"the private half":    {privatePEM, "", onlyPublic},
		"another key, public": {ecPublic, genpkey, onlyEd25519},
		"another key":         {ecPrivate, genpkey, onlyPublic},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "k1.pem")
		require.NoError(t, os.WriteFile(path, c.content, 0o600))
		_, err := identity.LoadSigner(path)
		checkRemedy(t, name, err, path, c.signer)
		_, err = identity.LoadVerifier(dir)
		checkRemedy(t, name, err, path, c.verifier)
	}
	absent := filepath.Join(t.TempDir(), "k1.pem")
	_, err := identity.LoadSigner(absent)
	checkRemedy(t, "no file", err, absent, genpkey)
	require.ErrorIs(t, err, os.ErrNotExist)
	for _, dir := range []string{t.TempDir(), absent} {
		_, err = identity.LoadVerifier(dir)
		checkRemedy(t, "no keys", err, dir, "`openssl pkey -pubout` makes it")
	}
}

// checkRemedy: err names path and ends with remedy; no remedy means no error.
func checkRemedy(t *testing.T, name string, err error, path, remedy string) {
	t.Helper()
	if remedy == "" {
		assert.NoError(t, err, name)
		return
	}
	if assert.Error(t, err, name) {
		assert.Contains(t, err.Error(), path, name)
		_, end, found := strings.Cut(err.Error(), remedy)
		assert.True(t, found && !strings.Contains(end, ":"), "%s: %q does not end with %q", name, err, remedy)
	}
}
