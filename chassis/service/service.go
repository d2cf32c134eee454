package service

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kratos/kratos/contrib/middleware/validate/v2"
	"github.com/go-kratos/kratos/v2"
	klog "github.com/go-kratos/kratos/v2/log"
	"github.com/go-kratos/kratos/v2/transport"
	"github.com/go-kratos/kratos/v2/transport/grpc"
	"golang.org/x/sync/errgroup"
	ggrpc "google.golang.org/grpc"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/endpoints"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/telemetry"
)

// Service is one running service. Register the gRPC services on GRPC, add readiness checks and background work, then call Run.
type Service struct {
	// GRPC is the server on which the service registers its RPCs, nil for a service without any (the gateway).
	GRPC *grpc.Server
	Log  *slog.Logger

	name    string
	cfg     Config
	admin   *admin
	servers []transport.Server
	work    []func(context.Context) error
	closers []func()
	migrate func(context.Context) error
	flush   func(context.Context) error // exports the last spans

	stopping atomic.Bool
	stopped  chan struct{} // closed when stopping
	lameDuck time.Duration
}

// New returns a service called name with a gRPC server, under options, that recovers from panics, hides the frame's own services unless cfg.Faults,
// checks who may call (access.v1.level of each method), validates requests, also texts that people see (text.v1.shown), and demands an
// Idempotency-Key (idempotency.v1.key). It reads the public keys from cfg.IdentityKeys, and speaks TLS when cfg.TLS says so.
func New(name string, cfg Config, options ...ggrpc.ServerOption) (*Service, error) {
	s, err := NewBare(name, cfg)
	if err != nil {
		return nil, err
	}
	verifier, err := identity.LoadVerifier(cfg.IdentityKeys)
	if err != nil {
		return nil, err
	}
	creds, err := cfg.TLS.Credentials()
	if err != nil {
		return nil, err
	}
	options = append(options, ggrpc.Creds(creds), telemetry.Server(), endpoints.AllowKeepAlive(), ggrpc.UnaryInterceptor(withCallContext))
	if !cfg.Faults {
		options = append(options, hideFrame()...)
	}
	s.GRPC = grpc.NewServer(
		grpc.Address(cfg.GRPC.Addr),
		grpc.Timeout(cfg.GRPC.Timeout),
		grpc.Options(options...),
		grpc.Middleware(
			logCalls(s.Log),
			Recover(s.Log),
			identity.Guard(verifier),
			hideFaults,
			validate.ProtoValidate(),
			checkTexts,
			demandKey,
		),
	)
	s.servers = append(s.servers, s.GRPC)
	return s, nil
}

// NewBare returns a service without a gRPC server. Add what it serves with Serve.
func NewBare(name string, cfg Config) (*Service, error) {
	log, err := newLogger(os.Stderr, cfg.Log.Level, name)
	if err != nil {
		return nil, err
	}
	slog.SetDefault(log)
	klog.SetLogger(klog.NewFilter(kratosLog{log}, klog.FilterLevel(klog.LevelWarn)))
	flush, err := telemetry.Setup(context.Background(), name)
	if err != nil {
		return nil, err
	}
	s := &Service{name: name, cfg: cfg, Log: log, admin: newAdmin(cfg.Faults), flush: flush, stopped: make(chan struct{}),
		migrate: func(context.Context) error { return nil }}
	s.Ready("running", func(context.Context) error {
		if s.stopping.Load() {
			return errors.New("is stopping")
		}
		return nil
	})
	return s, nil
}

// Name returns the name given to New.
func (s *Service) Name() string { return s.name }

// Dial is the function Dial with svc's own certificates.
func (s *Service) Dial(addr string) (*ggrpc.ClientConn, error) { return Dial(addr, s.cfg.TLS) }

// Serve adds a server that starts and stops with the service.
func (s *Service) Serve(srv transport.Server) { s.servers = append(s.servers, srv) }

// Ready adds a check to /readyz. It must answer within two seconds.
func (s *Service) Ready(name string, check func(context.Context) error) { s.admin.ready(name, check) }

// Degraded adds to /readyz why a part works less well than it should, which leaves the service ready: why returns "" while it does not.
func (s *Service) Degraded(name string, why func() string) { s.admin.degraded(name, why) }

// Probes returns a handler of /healthz, /readyz and /metrics, as the admin port has, for a service that answers them on another port too.
func (s *Service) Probes() http.Handler { return s.admin.probes }

// Go adds background work that runs until its context ends. If it returns an error, the service stops.
func (s *Service) Go(work func(context.Context) error) { s.work = append(s.work, work) }

// Database prepares a pool for the service's own database, without which the service is not ready. Run migrates it to the newest version of
// parts and of the service's own migrations before anything is served; Close closes it.
func (s *Service) Database(cfg database.Config, own fs.FS, parts ...database.Part) (*sql.DB, error) {
	db, err := database.Open(cfg)
	if err != nil {
		return nil, err
	}
	s.migrate = func(ctx context.Context) error { return database.Migrate(ctx, db, own, parts...) }
	s.Ready("mysql", db.PingContext)
	s.OnClose(func() { _ = db.Close() })
	return db, nil
}

// OnClose adds a function that Close calls, before those that were added earlier.
func (s *Service) OnClose(f func()) { s.closers = append(s.closers, f) }

// Close releases what the service holds. Call it after Run has returned, or when Run will not be called.
func (s *Service) Close() {
	for _, f := range slices.Backward(s.closers) {
		f()
	}
}

// LameDuck sets how long the service goes on serving after it is told to stop. It is not ready in that time, so that a load balancer notices
// before calls are refused. A gRPC server does not need it: it tells its clients itself.
func (s *Service) LameDuck(d time.Duration) { s.lameDuck = d }

// Stopping reports whether the service was told to stop.
func (s *Service) Stopping() bool { return s.stopping.Load() }

// Stopped returns a channel that is closed when the service is told to stop, for calls that have no end of their own.
func (s *Service) Stopped() <-chan struct{} { return s.stopped }

// stopTimeout bounds how long the calls under way may take when the service stops.
const stopTimeout = 15 * time.Second

// Run migrates the database and serves until ctx ends or SIGTERM or SIGINT comes, then finishes the calls under way and returns. It returns an
// error without serving when an RPC has no access level, or does not say what calling it again does.
func (s *Service) Run(ctx context.Context) error {
	if s.GRPC != nil {
		if err := errors.Join(identity.CheckLevels(s.GRPC.GetServiceInfo()), CheckRepetitions(s.GRPC.GetServiceInfo())); err != nil {
			return err
		}
	}
	if err := s.migrate(ctx); err != nil {
		return err
	}
	lis, err := net.Listen("tcp", s.cfg.Admin.Addr)
	if err != nil {
		return fmt.Errorf("open the admin port: %w", err)
	}
	adminServer := &http.Server{Handler: s.admin, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan struct{})
	retire := sync.OnceFunc(func() {
		s.stopping.Store(true)
		close(s.stopped)
		select {
		case <-ended:
		case <-time.After(s.lameDuck):
		}
	})
	app := kratos.New(
		kratos.Context(context.WithoutCancel(ctx)), // the calls' parent: they are answered, not canceled
		kratos.Name(s.name),
		kratos.BeforeStop(func(context.Context) error {
			retire()
			return nil
		}),
		kratos.StopTimeout(stopTimeout),
		kratos.Server(s.servers...),
	)

	group, ctx := errgroup.WithContext(ctx)
	ctx, stop := context.WithCancel(ctx)
	group.Go(func() error {
		if err := adminServer.Serve(lis); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	for _, work := range s.work {
		group.Go(func() error { return work(ctx) })
	}
	group.Go(func() error {
		// Background work goes on until the last call is answered.
		defer func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = adminServer.Shutdown(ctx)
			_ = adminServer.Close()
		}()
		defer stop()
		defer close(ended)
		s.Log.Info("serving", "grpc", s.cfg.GRPC.Addr, "admin", lis.Addr().String())
		return app.Run()
	})
	group.Go(func() error {
		<-ctx.Done()
		return app.Stop()
	})
	err = group.Wait()
	sending, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if lost := s.flush(sending); lost != nil {
		s.Log.Warn("the last spans were not exported", "err", lost)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	s.Log.Info("stopped")
	return nil
}
