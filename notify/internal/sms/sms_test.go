package sms_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
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
		"sms.http.timeout": {URL: "https://sms.example.com/send", Token: "t", Timeout: -1},
		"(SMS_URL)":        {Token: "t"},
		"SMS_URL) is not":  {URL: "sms.example.com/send", Token: "t"},
		"SMS_TOKEN":        {URL: "https://sms.example.com/send"},
	} {
		_, err := sms.New(cfg)
		require.ErrorContains(t, err, want)
	}
}

// TestNoSecret tests that what is secret in the URL is in no error, whatever the provider does.
func TestNoSecret(t *testing.T) {
	t.Parallel()
	const parts = "t0psecrettoken userinfosecret pathsecret0123 querysecret query%2Fsecret query/secret"
	url := func(base string) string {
		return strings.Replace(base, "://", "://shop:userinfosecret@", 1) + "/hooks/pathsecret0123/send?key=querysecret&other=query%2Fsecret"
	}
	for name, handle := range map[string]http.HandlerFunc{
		"echoes the path": http.NotFound,
		"echoes everything": func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, r.Header.Get("Authorization")+" "+r.URL.String()+" "+r.URL.Query().Get("other"), http.StatusBadRequest)
		},
		"echoes it in small parts": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "key querysecret of pathsecret0123 is wrong", http.StatusForbidden)
		},
		"hangs": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadAll(r.Body)
			<-r.Context().Done()
		},
		"drops": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"sends to nowhere": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/querysecret%zz")
			w.WriteHeader(307)
		},
		"says too much in its header": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("querysecret", 20_000))
		},
		"speaks no HTTP": func(w http.ResponseWriter, r *http.Request) {
			conn, _, _ := http.NewResponseController(w).Hijack()
			_, _ = io.WriteString(conn, "SSH-2.0-"+r.URL.String()+"\r\n\r\n")
			_ = conn.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewUnstartedServer(handle)
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.Start()
			t.Cleanup(server.Close)
			p, err := sms.New(sms.Config{URL: url(server.URL), Token: "t0psecrettoken", Timeout: 300 * time.Millisecond})
			require.NoError(t, err)
			err = p.Send(t.Context(), note)
			require.Error(t, err)
			for secret := range strings.FieldsSeq(parts) {
				assert.NotContains(t, err.Error(), secret)
			}
		})
	}
	for _, base := range []string{"http://127.0.0.1:1", "https://127.0.0.1:1", "http://no-such-host.invalid"} {
		p, err := sms.New(sms.Config{URL: url(base), Token: "t0psecrettoken"})
		require.NoError(t, err)
		err = p.Send(t.Context(), note)
		require.ErrorContains(t, err, "call "+strings.SplitN(base, "//", 2)[1]+": ")
		require.NotErrorIs(t, err, notification.ErrUnknown, "it was given to nobody")
		for secret := range strings.FieldsSeq(parts) {
			assert.NotContains(t, err.Error(), secret)
		}
	}
	for _, base := range []string{"https:/host", "ftp://host", "https://ho st"} {
		_, err := sms.New(sms.Config{URL: url(base) + "querysecret", Token: "t0psecrettoken"})
		require.ErrorContains(t, err, "SMS_URL")
		assert.NotContains(t, err.Error(), "secret")
	}
}

// TestUnknown tests what may have arrived and what cannot.
func TestUnknown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handle  http.HandlerFunc
		unknown bool
	}{
		"dropped":          {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, true},
		"somebody between": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGatewayTimeout) }, true},
		"it is busy":       {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, false},
	} {
		err := provider(t, c.handle).Send(t.Context(), note)
		require.Error(t, err, name)
		assert.Equal(t, c.unknown, errors.Is(err, notification.ErrUnknown), "%s: %v", name, err)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Duration{
		"120": 2 * time.Minute, "0": 0, "-5": 0, "soon": 0, "": 0, "99999999999": 0,
		time.Now().Add(time.Hour).UTC().Format(http.TimeFormat): time.Hour, time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat): 0,
	} {
		for _, code := range []int{429, 503} {
			err := provider(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", value)
				w.WriteHeader(code)
			}).Send(t.Context(), note)
			var later notification.LaterError
			assert.Equal(t, want > 0, errors.As(err, &later), value)
			assert.InDelta(t, want.Seconds(), later.After.Seconds(), 5, value)
		}
	}
}
