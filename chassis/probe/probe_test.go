package probe

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAsk: 200 is healthy; anything else is not, and says why.
func TestAsk(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"ready": false, "failed": {"redis": "refused", "database": "gone"}}`))
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	require.NoError(t, Ask(t.Context(), server.URL+"/ok"))
	require.EqualError(t, Ask(t.Context(), server.URL+"/readyz"), "answers 503 database: gone; redis: refused")
	require.EqualError(t, Ask(t.Context(), server.URL+"/elsewhere"), "answers 404 ")

	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	require.NoError(t, err)
	for _, addr := range []string{":" + port, "0.0.0.0:" + port, "[::]:" + port, "127.0.0.1:" + port} {
		require.NoError(t, AskSelf(t.Context(), addr, "/ok"), addr)
	}
	require.Error(t, AskSelf(t.Context(), "nowhere", "/ok"))
	server.Close()
	assert.ErrorContains(t, AskSelf(t.Context(), ":"+port, "/ok"), "refused")
}
