package sms_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/notify/internal/notification"
	"example.com/fourfold/notify/internal/sms"
)

var note = notification.Notification{ID: "0190-1", To: "+8613800138000", Text: "欢迎 \"welcome\""}

func provider(t *testing.T, handle http.HandlerFunc) *sms.Provider {
	t.Helper()
	server := httptest.NewServer(handle)
	t.Cleanup(server.Close)
	p, err := sms.New(sms.Config{URL: server.URL + "/send", Token: "t-1"})
	require.NoError(t, err)
	return p
}

func TestAMessage(t *testing.T) {
	t.Parallel()
	require.NoError(t, provider(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		assert.Equal(t, "POST /send", r.Method+" "+r.URL.Path)
		assert.JSONEq(t, `{"to": "+8613800138000", "text": "欢迎 \"welcome\""}`, string(body))
		assert.Equal(t, "application/json", r.Header.Get("Content-Type"))
		assert.Equal(t, "Bearer t-1", r.Header.Get("Authorization"))
		assert.Equal(t, "0190-1", r.Header.Get("Idempotency-Key"))
		w.WriteHeader(http.StatusAccepted)
	}).Send(t.Context(), note))
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	for code, forGood := range map[int]bool{
		400: true, 409: true, 410: true, 413: true, 422: true, 451: true,
		401: false, 402: false, 403: false, 404: false, 405: false, 408: false, 425: false, 429: false,
		302: false, 307: false, 500: false, 502: false, 503: false, 504: false,
	} {
		err := provider(t, func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, "/send", r.URL.Path, "the token goes nowhere else")
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(code)
			_, _ = io.WriteString(w, "because")
		}).Send(t.Context(), note)
		require.ErrorContains(t, err, "because", "%d", code)
		if forGood {
			assert.ErrorIs(t, err, notification.ErrRefused, "%d", code)
		} else {
			assert.NotErrorIs(t, err, notification.ErrRefused, "%d", code)
		}
	}
}

func TestHangs(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := provider(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body) // otherwise the server does not notice that the client left
		<-r.Context().Done()
	}).Send(ctx, note)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.NotErrorIs(t, err, notification.ErrRefused)
}

func TestConfigurations(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]sms.Config{
		"(SMS_URL)":       {Token: "t"},
		"SMS_URL) is not": {URL: "sms.example.com/send", Token: "t"},
		"SMS_TOKEN":       {URL: "https://sms.example.com/send"},
	} {
		_, err := sms.New(cfg)
		require.ErrorContains(t, err, want)
	}
}
