package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/go-kratos/kratos/v2/middleware"
	"github.com/go-kratos/kratos/v2/transport"
	khttp "github.com/go-kratos/kratos/v2/transport/http"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/metric/noop"

	accessv1 "example.com/fourfold/api/access/v1"
	memberv1 "example.com/fourfold/api/member/v1"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/gateway/internal/answer"
	"example.com/fourfold/gateway/internal/docs"
	"example.com/fourfold/gateway/internal/limit"
	"example.com/fourfold/gateway/internal/live"
	"example.com/fourfold/gateway/internal/transcode"
	"example.com/fourfold/gateway/openapi"
)

// parts are what the public server is made of.
type parts struct {
	log       *slog.Logger
	probes    http.Handler
	verifier  *identity.Verifier
	limiter   *limit.Limiter
	metrics   prometheus.Registerer
	upstreams []transcode.Upstream
	// streams are the streams of order events.
	streams *live.Streams
	// stopping reports whether the process will end soon.
	stopping func() bool
}

// newServer returns the public HTTP server, which listens on cfg.HTTP.Addr, if that is not empty, from now on. All its answers that are not a
// success have the error form.
func newServer(cfg config, p parts) (*khttp.Server, error) {
	measured, err := measure(p.metrics)
	if err != nil {
		return nil, err
	}
	proxies, err := limit.ParseProxies(cfg.HTTP.TrustedProxies)
	if err != nil {
		return nil, fmt.Errorf("http.trusted_proxies: %w", err)
	}
	origins, err := otherOrigins(cfg.HTTP.Origins)
	if err != nil {
		return nil, fmt.Errorf("http.origins: %w", err)
	}
	errs := answer.NewWriter(p.log)
	notFound := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		errs.Error(w, r, kerrors.NotFound("ROUTE_NOT_FOUND", "there is nothing at "+r.URL.Path+": see /docs"))
	})
	var listener net.Listener
	if cfg.HTTP.Addr != "" {
		if listener, err = listen(cfg.HTTP.Addr, 2*cfg.Live.Heartbeat, cfg.HTTP.PerAddress, proxies); err != nil {
			return nil, err
		}
	}
	var srv *khttp.Server
	srv = khttp.NewServer(
		khttp.Listener(listener),
		khttp.Timeout(cfg.HTTP.Timeout),
		khttp.StrictSlash(false),
		khttp.Filter(traced, answer.Mark, closeWhenStopping(p.stopping), origins, answer.Head, cleanPath(notFound), arrived),
		khttp.Middleware(measured, service.Recover(p.log), admit(cfg, proxies, p.verifier, p.limiter)),
		khttp.ErrorEncoder(errs.Error),
		khttp.NotFoundHandler(notFound),
		khttp.MethodNotAllowedHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			methods := transcode.Methods(srv, r.URL.Path)
			if slices.Contains(methods, http.MethodGet) {
				methods = append(methods, http.MethodHead)
			}
			allowed := strings.Join(methods, ", ")
			w.Header().Set("Allow", allowed)
			errs.Error(w, r, kerrors.New(http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED",
				answer.Asked(r)+" is not for "+r.URL.Path+", but "+allowed+" is: see /docs"))
		})),
	)
	srv.ReadHeaderTimeout = 5 * time.Second
	srv.ReadTimeout = cfg.HTTP.Timeout
	srv.WriteTimeout = cfg.HTTP.WriteTimeout // streams have a deadline for each write instead
	srv.IdleTimeout = 2 * time.Minute
	srv.MaxHeaderBytes = 32 << 10

	if err := transcode.Register(srv, p.upstreams...); err != nil {
		return nil, err
	}
	router := srv.Route("/")
	router.GET(live.Path, p.streams.Serve)
	for _, path := range []string{"/healthz", "/readyz"} {
		router.GET(path, func(ctx khttp.Context) error {
			p.probes.ServeHTTP(ctx.Response(), ctx.Request())
			return nil
		})
	}
	return srv, docs.Register(router, openapi.YAML)
}

// traced begins a trace with each call of the API. A caller from outside cannot choose its ids: the trace that the caller claims to belong to is
// only linked.
func traced(next http.Handler) http.Handler {
	return otelhttp.NewHandler(next, "call",
		otelhttp.WithPublicEndpointFn(func(*http.Request) bool { return true }),
		otelhttp.WithFilter(func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/v1/") }),
		otelhttp.WithMeterProvider(noop.NewMeterProvider())) // measure counts, by RPC
}

// arrived keeps the context without cfg.HTTP.Timeout for calls that last.
func arrived(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(service.WithCallContext(r.Context())))
	})
}

// closeWhenStopping closes each client's connection after its next answer when the process will end soon. A client that keeps connections
// could otherwise send a call just when they are closed.
func closeWhenStopping(stopping func() bool) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if stopping() {
				w.Header().Set("Connection", "close")
			}
			next.ServeHTTP(w, r)
		})
	}
}

// cleanPath answers 404 to a path with an empty segment, "." or ".." (a missing id makes one). The router would redirect it, and clients would
// GET something else.
func cleanPath(notFound http.Handler) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			clean := path.Clean(r.URL.Path)
			if clean != "/" && strings.HasSuffix(r.URL.Path, "/") {
				clean += "/"
			}
			if r.URL.Path != clean {
				notFound.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// admit turns away, before the request is read, callers that call too often (429) or may not make the call (401, 403). The services check the
// token again; checking it here saves them useless work and tells whose call it is.
func admit(cfg config, proxies limit.Proxies, verifier *identity.Verifier, limiter *limit.Limiter) middleware.Middleware {
	var underWay atomic.Int64
	return func(next middleware.Handler) middleware.Handler {
		return func(ctx context.Context, req any) (any, error) {
			defer underWay.Add(-1)
			if n := underWay.Add(1); cfg.Limits.UnderWay > 0 && n > int64(cfg.Limits.UnderWay) {
				return nil, kerrors.ServiceUnavailable("TRY_LATER", "too many calls are under way here: try again")
			}
			tr, _ := transport.FromServerContext(ctx)
			r, _ := khttp.RequestFromServerContext(ctx)
			operation := tr.Operation()
			caller, refusal := verifier.Admit(operation, r.Header.Get("Authorization"))

			address := proxies.Address(r)
			subject, rate := "calls:member:"+caller.MemberID, cfg.Limits.Calls
			switch {
			case r.Method != http.MethodGet && identity.LevelOf(operation) == accessv1.Level_PUBLIC:
				subject, rate = "strangers:address:"+address, cfg.Limits.Strangers
			case caller.MemberID == "":
				subject = "calls:address:" + address
			}
			if caller.MemberID != "" {
				if err := limiter.TakeHere("address:"+address, cfg.Limits.Addresses); err != nil {
					return nil, err
				}
			}
			if err := limiter.Take(ctx, subject, rate); err != nil {
				return nil, err
			}
			if operation == memberv1.Members_SignUp_FullMethodName && cfg.Limits.Strangers.PerSecond > 0 {
				if err := limiter.Take(ctx, "sign-ups:address:"+address, cfg.Limits.SignUps); err != nil {
					return nil, err
				}
			}
			if refusal != nil {
				return nil, refusal
			}
			return next(identity.NewContext(service.WithAddress(ctx, address), caller), req)
		}
	}
}

// measure counts calls and their seconds by RPC and code; every success counts as 200.
func measure(reg prometheus.Registerer) (middleware.Middleware, error) {
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "gateway_call_seconds",
		Help:    "Seconds that calls took, by RPC and HTTP code.",
		Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"operation", "code"})
	if err := reg.Register(seconds); err != nil {
		return nil, err
	}
	return func(next middleware.Handler) middleware.Handler {
		return func(ctx context.Context, req any) (any, error) {
			start := time.Now()
			reply, err := next(ctx, req)
			if tr, ok := transport.FromServerContext(ctx); ok {
				code := strconv.Itoa(kerrors.Code(err))
				seconds.WithLabelValues(tr.Operation(), code).Observe(time.Since(start).Seconds())
			}
			return reply, err
		}
	}, nil
}
