package service

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	klog "github.com/go-kratos/kratos/v2/log"
	"github.com/go-kratos/kratos/v2/middleware"
	"github.com/go-kratos/kratos/v2/transport"

	"example.com/fourfold/chassis/telemetry"
)

// newLogger returns a logger that writes JSON lines, each with the service's name, its trace and what was noted about the call.
func newLogger(w io.Writer, level, name string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log.level is debug, info, warn or error: %w", err)
	}
	return slog.New(telemetry.Handler(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l}))).With("service", name), nil
}

// kratosLog lets Kratos log through slog.
type kratosLog struct{ *slog.Logger }

func (l kratosLog) Log(level klog.Level, kv ...any) error {
	msg := ""
	rest := make([]any, 0, len(kv))
	for i := 0; i+1 < len(kv); i += 2 {
		if kv[i] == klog.DefaultMessageKey {
			msg = fmt.Sprint(kv[i+1])
			continue
		}
		rest = append(rest, kv[i], kv[i+1])
	}
	// Kratos' levels run from -1 (debug) to 3 (fatal), slog's in steps of four from -4.
	l.Logger.Log(context.Background(), min(slog.Level(level)*4, slog.LevelError), msg, rest...)
	return nil
}

// logCalls logs each call: one that failed for a reason the caller cannot know (5xx) as a warning, the others at debug.
func logCalls(log *slog.Logger) middleware.Middleware {
	return func(next middleware.Handler) middleware.Handler {
		return func(ctx context.Context, req any) (any, error) {
			start := time.Now()
			ctx = telemetry.Begin(ctx)
			reply, err := next(ctx, req)
			level, attrs := slog.LevelDebug, []slog.Attr{slog.Duration("took", time.Since(start))}
			if tr, ok := transport.FromServerContext(ctx); ok {
				attrs = append(attrs, slog.String("call", tr.Operation()))
			}
			if err != nil {
				attrs = append(attrs, slog.String("err", err.Error()))
				if kerrors.Code(err) >= 500 {
					level = slog.LevelWarn
				}
			}
			log.LogAttrs(ctx, level, "call", attrs...)
			return reply, err
		}
	}
}
