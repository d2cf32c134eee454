package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stackWith returns the file of a stack whose gateway answers the check with code and body.
func stackWith(t *testing.T, code int, body string) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/sessions", func(w http.ResponseWriter, r *http.Request) {
		var login map[string]string
		if json.NewDecoder(r.Body).Decode(&login) != nil || login["login"] != "operator@example.com" || login["password"] != "secret" {
			http.Error(w, `{"code": 401, "message": "wrong password"}`, http.StatusUnauthorized)
			return
		}
		_, _ = fmt.Fprint(w, `{"access_token": "token", "expires_in": 3600}`)
	})
	mux.HandleFunc("GET /v1/ops/conservation", func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "Bearer token", r.Header.Get("Authorization"))
		assert.Equal(t, "90", r.URL.Query().Get("open_seconds"))
		w.WriteHeader(code)
		_, _ = fmt.Fprint(w, body)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	path := filepath.Join(t.TempDir(), "demo.json")
	text := fmt.Sprintf(`{"gateway": %q, "operator": {"login": "operator@example.com", "password": "secret"}}`, server.URL)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestReport(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ body, want string }{
		{`{"ok": true, "checks": [{"name": "stock", "ok": true, "checked": 1234567, "violations": []},
			{"name": "longer name", "ok": true, "checked": 0, "violations": []}], "took_ms": 1234}`, `
    check             rows
  ────────────────────────
  ✓ stock        1,234,567
  ✓ longer name          0

  The books add up: 2 checks in 1.234s.
`},
		{`{"ok": false, "checks": [{"name": "stock", "ok": true, "checked": 7, "violations": []},
			{"name": "slips", "ok": false, "checked": 12, "violations": ["order 1: wrong", "order 2: wrong"]}], "took_ms": 20}`, `
    check  rows
  ─────────────
  ✓ stock     7
  ✗ slips    12
      order 1: wrong
      order 2: wrong

  The books do not add up: 1 of 2 checks found something, in 20ms.
`},
	} {
		r, err := ask(t.Context(), stackWith(t, http.StatusOK, c.body), 90*time.Second)
		require.NoError(t, err)
		var out bytes.Buffer
		r.write(&out)
		assert.Equal(t, c.want, out.String())
	}
}

// TestNoReport: an answer that is not a report is an error, never "all is well".
func TestNoReport(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code       int
		body, says string
	}{
		{503, `{"code": 503, "message": "wms does not answer, so nothing can be said about the books"}`, "503: wms does not answer"},
		{200, `{}`, "no check"},
		{200, `{"ok": true, "checks": []}`, "no check"},
		{200, `not JSON`, "invalid"},
		{404, `there is nothing`, "there is nothing"},
	} {
		_, err := ask(t.Context(), stackWith(t, c.code, c.body), 90*time.Second)
		assert.ErrorContains(t, err, c.says)
	}
	_, err := ask(t.Context(), filepath.Join(t.TempDir(), "demo.json"), time.Minute)
	assert.ErrorContains(t, err, "make up")
}
