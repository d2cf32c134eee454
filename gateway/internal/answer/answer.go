// Package answer writes what the gateway answers when it does not pass on a service's reply: errors, in one form, each with the request's id.
package answer

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	kerrors "github.com/go-kratos/kratos/v2/errors"
)

// form is the JSON of every error.
type form struct {
	Code     int32             `json:"code"`
	Reason   string            `json:"reason"`
	Message  string            `json:"message"`
	Metadata map[string]string `json:"metadata"`
}

// Writer writes errors.
type Writer struct{ log *slog.Logger }

// NewWriter returns a Writer that logs to log what it does not tell the client.
func NewWriter(log *slog.Logger) Writer { return Writer{log} }

// Error answers err in the error form. For a 5xx other than 503 the client learns only the request's id; the cause is logged. 429 and 503 have a
// Retry-After in seconds: metadata's retry_after, or 1.
func (a Writer) Error(w http.ResponseWriter, r *http.Request, err error) {
	e := kerrors.FromError(err)
	id := w.Header().Get(requestIDHeader)
	attrs := []any{"method", Asked(r), "path", r.URL.Path, "err", err}
	switch {
	case errors.Is(r.Context().Err(), context.Canceled):
		a.log.DebugContext(r.Context(), "client left", attrs...)
	case e.Code == http.StatusServiceUnavailable:
		a.log.WarnContext(r.Context(), "part of the system is down", attrs...)
	case e.Code >= 500:
		a.log.ErrorContext(r.Context(), "internal error", attrs...)
		e = kerrors.InternalServer("INTERNAL", "internal error, look for request id "+id+" in the logs")
	}
	if e.Code == http.StatusServiceUnavailable || e.Code == http.StatusTooManyRequests {
		seconds := e.Metadata["retry_after"]
		if seconds == "" {
			seconds = "1"
		}
		w.Header().Set("Retry-After", seconds)
	}
	if e.Code == http.StatusUnauthorized { // RFC 9110 section 11.6.1
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	f := form{e.Code, e.Reason, e.Message, e.Metadata}
	if f.Metadata == nil {
		f.Metadata = map[string]string{}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(e.Code))
	j := json.NewEncoder(w)
	j.SetEscapeHTML(false)
	_ = j.Encode(f)
}
