package e2e_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// jwt is a token under construction, written by hand so that it can be wrong in every way.
type jwt struct {
	header, claims map[string]any
	sign           func(signed []byte) []byte
}

// signingKey returns the key that member signs with: it can sign what member never would.
func signingKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(shared.Dir(), "keys/member/k1.pem"))
	require.NoError(t, err)
	block, _ := pem.Decode(data)
	require.NotNil(t, block)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	require.NoError(t, err)
	return key.(ed25519.PrivateKey)
}

// token returns a valid token of an operator after change was applied to it.
func token(t *testing.T, key ed25519.PrivateKey, change func(*jwt)) string {
	t.Helper()
	j := jwt{
		header: map[string]any{"alg": "EdDSA", "typ": "JWT", "kid": "k1"},
		claims: map[string]any{
			"iss": "fourfold/member", "aud": "fourfold", "sub": "01a2022f-0000-7000-8000-000000000000", "role": "operator",
			"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
		},
		sign: func(signed []byte) []byte { return ed25519.Sign(key, signed) },
	}
	change(&j)
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(text(t, j.header))) + "." + encode([]byte(text(t, j.claims)))
	return "Bearer " + signed + "." + encode(j.sign([]byte(signed)))
}

// forgeries returns tokens that must not be accepted.
func forgeries(t *testing.T) map[string]string {
	t.Helper()
	key := signingKey(t)
	_, other, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	public := key.Public().(ed25519.PublicKey)
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})

	good := token(t, key, func(*jwt) {})
	claim := func(name string, value any) string {
		return token(t, key, func(j *jwt) {
			if j.claims[name] = value; value == nil {
				delete(j.claims, name)
			}
		})
	}
	header := func(name string, value any) string {
		return token(t, key, func(j *jwt) { j.header[name] = value })
	}
	unsigned := func(alg string) string {
		return token(t, key, func(j *jwt) { j.header["alg"], j.sign = alg, func([]byte) []byte { return nil } })
	}
	hmacBy := func(secret []byte) string {
		return token(t, key, func(j *jwt) {
			j.header["alg"] = "HS256"
			j.sign = func(signed []byte) []byte {
				h := hmac.New(sha256.New, secret)
				h.Write(signed)
				return h.Sum(nil)
			}
		})
	}
	all := map[string]string{
		"garbage": "Bearer surprise", "empty": "Bearer ", "three dots": "Bearer ...", "huge": "Bearer " + strings.Repeat("x", 8000),
		"basic": "Basic b3BlcmF0b3I6cGFzc3dvcmQ=", "no scheme": strings.TrimPrefix(good, "Bearer "), "twice": good + ", " + good,
		"alg none": unsigned("none"), "alg None": unsigned("None"), "no signature": unsigned("EdDSA"),
		"HMAC by the public key": hmacBy(public), "HMAC by the public key's PEM": hmacBy(publicPEM), "HMAC by nothing": hmacBy(nil),
		"another key":    token(t, other, func(*jwt) {}),
		"unknown key id": header("kid", "k2"), "no key id": header("kid", ""), "key id is a path": header("kid", "../member/k1"),
		"key id is a number": header("kid", 1),
		"key of its own":     token(t, other, func(j *jwt) { j.header["jwk"] = map[string]any{"kty": "OKP", "crv": "Ed25519"} }),
		"expired":            claim("exp", time.Now().Add(-time.Minute).Unix()), "never expires": claim("exp", nil),
		"exp is a word": claim("exp", "never"), "not yet": claim("nbf", time.Now().Add(time.Hour).Unix()),
		"another audience": claim("aud", "somebody"), "no audience": claim("aud", nil),
		"another issuer": claim("iss", "somebody"), "no issuer": claim("iss", nil), "nobody": claim("sub", ""), "no subject": claim("sub", nil),
		"another role": claim("role", "root"), "no role": claim("role", nil), "many roles": claim("role", []string{"operator"}),
	}
	parts := strings.Split(good, ".")
	shopper := strings.Split(claim("role", "shopper"), ".")
	all["claims of another token"] = shopper[0] + "." + parts[1] + "." + shopper[2]
	return all
}

// TestTokens is sequential: a forgery that is accepted could do anything.
func TestTokens(t *testing.T) {
	v, someone, forged := newVictim(t), shopper(t), forgeries(t)
	stale := token(t, signingKey(t), func(*jwt) {})
	for _, r := range routes(t) {
		t.Run(r.OperationID, func(t *testing.T) {
			a := newAttack(t, r, v.of(r), someone.token)
			if r.pathParameter() != "" && a.id == "" {
				a.id = "unknown"
			}
			for name, header := range forged {
				a.token = header
				a.send(name).is(401, "TOKEN_INVALID")
			}
			a.token = ""
			if !r.public() {
				a.send("no token").is(401, "TOKEN_MISSING")
			}
			if r.operators() {
				a.token = "Bearer " + someone.token
				a.send("a shopper").is(403, "OPERATOR_ONLY")
			}
			// The valid token shows that the forgeries fail for what is wrong with them, and that a member who is gone gets a documented answer.
			a.id, a.token = "unknown", stale
			got := a.send("good, of a member who is gone")
			assert.NotContains(t, []string{"TOKEN_INVALID", "TOKEN_MISSING", "OPERATOR_ONLY"}, got.form.Reason)
		})
	}
}
