// Package live shows an open page the changes of an order, by server-sent events.
//
// The broker's events only wake a stream, which then reads the order anew from the order service, with the shopper's own token. So that service
// alone decides who may see the order, until when, and what it looks like, and an event that comes twice, late or forged shows nothing untrue.
package live

import (
	"context"
	"fmt"
	"net/http"
	"time"

	khttp "github.com/go-kratos/kratos/v2/transport/http"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/gateway/internal/answer"
	"example.com/fourfold/gateway/internal/transcode"
)

// Path is where orders are watched, by GET.
const Path = "/v1/orders/{id}/events"

// Config bounds the streams of one gateway.
type Config struct {
	// Backstop is how long a stream goes without reading its order when nothing wakes it.
	Backstop time.Duration `yaml:"backstop"`
	// Heartbeat is the pause between two signs of life of a stream.
	Heartbeat time.Duration `yaml:"heartbeat"`
	// Patience bounds one reading of the order, and how long a client may take to receive what it is sent.
	Patience time.Duration `yaml:"patience"`
	// PerMember, PerAddress and Total bound how many streams are open at once; 0 does not.
	PerMember  int `yaml:"per_member"`
	PerAddress int `yaml:"per_address"`
	Total      int `yaml:"total"`
}

// Streams serves Path.
type Streams struct {
	cfg     Config
	hub     *Hub
	route   transcode.Route
	conn    grpc.ClientConnInterface
	endings *identity.Endings
	stopped <-chan struct{}
	ended   *prometheus.CounterVec
}

// Route returns the route that a stream calls again and again: a caller who may call it may watch.
func Route() (transcode.Route, error) {
	routes, err := transcode.Routes(orderv1.File_order_v1_order_proto)
	for _, r := range routes {
		if r.Operation == orderv1.Orders_GetOrder_FullMethodName {
			return r, nil
		}
	}
	return transcode.Route{}, fmt.Errorf("live: no route for %s: %w", orderv1.Orders_GetOrder_FullMethodName, err)
}

// New returns Streams that ask the order service at conn, and end when stopped is closed. One whose token has ended according to endings ends
// instead of reading its order.
func New(cfg Config, hub *Hub, conn grpc.ClientConnInterface, endings *identity.Endings, stopped <-chan struct{},
	metrics prometheus.Registerer) (*Streams, error) {
	route, err := Route()
	if err != nil {
		return nil, err
	}
	s := &Streams{cfg: cfg, hub: hub, route: route, conn: conn, endings: endings, stopped: stopped}
	s.ended = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gateway_streams_ended_total", Help: "Streams of order events that ended, by cause.",
	}, []string{"cause"})
	open := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gateway_streams", Help: "Streams of order events that are open.",
	}, func() float64 { return float64(hub.Open()) })
	for _, c := range []prometheus.Collector{s.ended, open} {
		if err := metrics.Register(c); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Serve handles Path. Opening a stream is a call of GetOrder: it is admitted, limited, measured and refused as one.
func (s *Streams) Serve(ctx khttp.Context) error {
	s.route.Announce(ctx, Path)
	var (
		caller identity.Caller
		call   *transcode.Call
		w      *watcher
		first  *orderv1.Order
	)
	defer func() {
		if w != nil {
			w.close()
		}
	}()
	open := ctx.Middleware(func(c context.Context, _ any) (any, error) {
		var err error
		caller = identity.FromContext(c)
		if call, err = transcode.NewCall(s.route, ctx, s.conn); err != nil {
			return nil, err
		}
		// First watch, then read, so that a change in between wakes the stream.
		if w, err = s.hub.watch(ctx.Vars().Get("id"), caller.MemberID, service.Address(c)); err != nil {
			return nil, err
		}
		first, err = read(c, call)
		return first, err
	})
	if _, err := open(ctx, nil); err != nil {
		return err
	}
	view := newView(ctx.Header().Get("Last-Event-ID"), first)
	if final(first) && !view.news(first) {
		ctx.Response().WriteHeader(http.StatusNoContent) // which tells browsers not to come back
		return nil
	}
	st := &stream{Streams: s, caller: caller, call: call, watcher: w, view: view, head: answer.IsHead(ctx.Request()), out: ctx.Response(),
		control: http.NewResponseController(ctx.Response())}
	s.ended.WithLabelValues(st.run(service.CallContext(ctx.Request().Context()), first)).Inc()
	return nil
}

func read(ctx context.Context, call *transcode.Call) (*orderv1.Order, error) {
	m, _, err := call.Make(ctx)
	if err != nil {
		return nil, err
	}
	order, ok := m.(*orderv1.Order)
	if !ok {
		order = new(orderv1.Order)
		proto.Merge(order, m)
	}
	return order, nil
}

// jitter returns d, up to an eighth more or less, so that streams that began together do not go on in step.
func jitter(d time.Duration, r float64) time.Duration { return d - d/8 + time.Duration(r*float64(d/4)) }
