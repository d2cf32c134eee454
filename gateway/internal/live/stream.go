package live

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"go.opentelemetry.io/otel/trace"

	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/gateway/internal/transcode"
)

// again is how soon an order is read again after a reading failed.
const again = time.Second

// stream is an open stream.
type stream struct {
	*Streams
	*watcher
	caller  identity.Caller
	call    *transcode.Call
	view    *view
	head    bool // the client asks for the headers only
	out     http.ResponseWriter
	control *http.ResponseController
}

// run sends first and each change of the order until the order is final, the token is no longer valid, the client leaves or is too slow, or the
// gateway stops. It returns the cause.
func (s *stream) run(ctx context.Context, first *orderv1.Order) string {
	h := s.out.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")                 // nginx would keep what comes until it has a page full
	h.Set("Cache-Control", "no-store, no-transform") // HAProxy would compress, and keep the last bytes until more comes
	if s.head {
		return "head"
	}
	if s.write("retry: 2000\n\n") != nil {
		return "client"
	}
	if cause := s.show(first); cause != "" {
		return cause
	}
	look, beat := time.NewTimer(s.pause()), time.NewTicker(s.cfg.Heartbeat)
	defer look.Stop()
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return "client"
		case <-s.stopped:
			// The clients come back at different times: another gateway takes them.
			_ = s.write(fmt.Sprintf("retry: %d\n: the gateway stops, come back\n\n", 500+rand.IntN(2000)))
			return "stop"
		case <-beat.C:
			if s.write(":\n\n") != nil {
				return "client"
			}
			continue
		case <-s.changed:
		case <-look.C:
		}
		if s.endings.Ended(s.caller) {
			return s.end("TOKEN_INVALID", "token")
		}
		order, err := s.look(ctx)
		switch code := kerrors.Code(err); {
		case err == nil:
			if cause := s.show(order); cause != "" {
				return cause
			}
			look.Reset(s.pause())
		case ctx.Err() != nil:
			return "client"
		case code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusNotFound:
			return s.end(kerrors.FromError(err).Reason, "token")
		default:
			look.Reset(min(again, s.pause()))
		}
	}
}

func (s *stream) pause() time.Duration { return jitter(s.cfg.Backstop, rand.Float64()) }

// look reads the order again. It is not part of a trace, which would never end.
func (s *stream) look(ctx context.Context) (*orderv1.Order, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Patience)
	defer cancel()
	return read(trace.ContextWithSpanContext(ctx, trace.SpanContextFromContext(ctx).WithTraceFlags(0)), s.call)
}

// show sends order if the client does not have it. It returns the cause if the stream ends after it, else "".
func (s *stream) show(order *orderv1.Order) (cause string) {
	if s.view.news(order) {
		body, err := transcode.JSON(order)
		if err != nil || s.write(fmt.Sprintf("event: order\nid: %s\ndata: %s\n\n", id(order), body)) != nil {
			return "client"
		}
		s.view.order = order
	}
	if final(order) {
		return s.end("FINAL", "final")
	}
	return ""
}

// end tells the client that there is nothing to come back for. It returns the cause why the stream ends.
func (s *stream) end(reason, cause string) string {
	if s.write(fmt.Sprintf("event: end\ndata: {\"reason\":%q}\n\n", reason)) != nil {
		return "client"
	}
	return cause
}

// write sends text. It fails when the client does not receive it in time.
func (s *stream) write(text string) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(s.cfg.Patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(s.out, text); err != nil {
		return err
	}
	return s.control.Flush()
}
