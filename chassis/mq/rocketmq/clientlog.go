package rocketmq

import (
	"context"
	"log/slog"
)

// clientLog is the client's logger. The client warns of every failure that we retry ourselves, so its warnings are logged at debug.
type clientLog struct{}

func (clientLog) Debug(string, map[string]any)              {}
func (clientLog) Info(msg string, fields map[string]any)    { write(slog.LevelDebug, msg, fields) }
func (clientLog) Warning(msg string, fields map[string]any) { write(slog.LevelDebug, msg, fields) }
func (clientLog) Error(msg string, fields map[string]any)   { write(slog.LevelDebug, msg, fields) }
func (clientLog) Fatal(msg string, fields map[string]any)   { write(slog.LevelWarn, msg, fields) }
func (clientLog) Level(string)                              {}
func (clientLog) OutputPath(string) error                   { return nil }

func write(level slog.Level, msg string, fields map[string]any) {
	ctx := context.Background()
	if !slog.Default().Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, len(fields)+1)
	attrs = append(attrs, slog.String("from", "rocketmq"))
	for k, v := range fields {
		attrs = append(attrs, slog.Any(k, v))
	}
	slog.LogAttrs(ctx, level, msg, attrs...)
}
