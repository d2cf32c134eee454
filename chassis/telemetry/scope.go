package telemetry

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// scope holds what has been noted about one piece of work.
type scope struct {
	mu    sync.Mutex
	attrs []slog.Attr
}

type scopeKey struct{}

// Begin starts a piece of work, for example a call. What is noted with the returned context, or with one derived from it, stands in all later
// log lines of the work, including those of the caller of Begin.
func Begin(ctx context.Context) context.Context {
	return context.WithValue(ctx, scopeKey{}, &scope{})
}

// Note adds attributes to the work that ctx is part of, and to its span. A new value replaces the old one of the same key.
func Note(ctx context.Context, attrs ...slog.Attr) {
	span := trace.SpanFromContext(ctx)
	for _, a := range attrs {
		span.SetAttributes(attribute.String(a.Key, a.Value.String()))
	}
	s, ok := ctx.Value(scopeKey{}).(*scope)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range attrs {
		s.attrs = slices.DeleteFunc(s.attrs, func(old slog.Attr) bool { return old.Key == a.Key })
		s.attrs = append(s.attrs, a)
	}
}

// noted returns what was noted about the work that ctx is part of.
func noted(ctx context.Context) []slog.Attr {
	s, ok := ctx.Value(scopeKey{}).(*scope)
	if !ok {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.attrs)
}

// Handler returns a handler that adds, to each line logged with a context, its trace and what was noted, unless the line has that key itself.
func Handler(next slog.Handler) slog.Handler { return handler{next} }

type handler struct{ slog.Handler }

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	said := map[string]bool{}
	r.Attrs(func(a slog.Attr) bool {
		said[a.Key] = true
		return true
	})
	r = r.Clone()
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		r.AddAttrs(slog.String("trace", span.TraceID().String()), slog.String("span", span.SpanID().String()))
	}
	for _, a := range noted(ctx) {
		if !said[a.Key] {
			r.AddAttrs(a)
		}
	}
	return h.Handler.Handle(ctx, r)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs)}
}

func (h handler) WithGroup(name string) slog.Handler { return handler{h.Handler.WithGroup(name)} }
