package answer

import (
	"crypto/rand"
	"log/slog"
	"net/http"
	"regexp"

	"go.opentelemetry.io/otel/trace"

	"example.com/fourfold/chassis/telemetry"
)

const requestIDHeader = "X-Request-Id"

var requestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// Mark gives each request an id and answers it as X-Request-Id: the client's own X-Request-Id where it is a plain word, else the id of its
// trace. It also sets the headers that every answer has: answers are for the caller alone and must not be cached or have their type guessed.
func Mark(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(requestIDHeader)
		if !requestID.MatchString(id) {
			id = rand.Text()
			if span := trace.SpanContextFromContext(r.Context()); span.IsValid() {
				id = span.TraceID().String()
			}
		}
		ctx := telemetry.Begin(r.Context())
		telemetry.Note(ctx, slog.String("request_id", id))
		r = r.WithContext(ctx)
		r.Header.Set(requestIDHeader, id)
		h := w.Header()
		h.Set(requestIDHeader, id)
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}
