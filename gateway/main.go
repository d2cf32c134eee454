// Command gateway is the only public door: HTTP/JSON in front of the services' gRPC, with authentication, limits and the
// API's description. It keeps no state of its own.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9/logging"

	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/gateway/internal/limit"
	"example.com/fourfold/gateway/internal/messages"
	"example.com/fourfold/gateway/internal/transcode"
	"example.com/fourfold/gateway/internal/upstream"
)

func main() {
	conf := flag.String("conf", "", "configuration file; the built-in one when empty")
	flag.Parse()
	var cfg config
	err := service.Load(*conf, defaults, &cfg)
	if err == nil {
		err = run(context.Background(), cfg)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends or the process is told to stop.
func run(ctx context.Context, cfg config) error {
	svc, err := service.NewBare("gateway", cfg.Config)
	if err != nil {
		return err
	}
	verifier, err := identity.LoadVerifier(cfg.IdentityKeys)
	if err != nil {
		return err
	}
	logging.Disable() // the Redis client would log every failed dial; the limiter says it once a minute
	rdb := limit.Open(cfg.Redis)
	defer func() { _ = rdb.Close() }()

	var (
		upstreams []transcode.Upstream
		asked     []messages.Service
	)
	for _, u := range upstream.Services() {
		addr := cfg.Upstreams[u.Name]
		if addr == "" {
			return fmt.Errorf("the configuration has no address for upstreams.%s", u.Name)
		}
		conn, err := service.Dial(addr)
		if err != nil {
			return fmt.Errorf("upstreams.%s: %w", u.Name, err)
		}
		defer func() { _ = conn.Close() }()
		if !u.Aside {
			svc.Ready(u.Name, upstream.Ready(conn))
		}
		upstreams = append(upstreams, transcode.Upstream{File: u.File, Conn: conn})
		asked = append(asked, messages.Service{Name: u.Name, Conn: conn})
	}
	upstreams = append(upstreams, transcode.Upstream{
		File: upstream.Messages(), Conn: messages.New(asked, cfg.Messages.Timeout.D(), svc.Log),
	})

	server, err := newServer(cfg, parts{
		log:       svc.Log,
		probes:    svc.Probes(),
		verifier:  verifier,
		limiter:   limit.New(rdb, svc.Log),
		metrics:   prometheus.DefaultRegisterer,
		upstreams: upstreams,
		stopping:  svc.Stopping,
	})
	if err != nil {
		return err
	}
	svc.Serve(server)
	svc.LameDuck(cfg.HTTP.LameDuck.D())
	svc.Log.Info("public door", "http", cfg.HTTP.Addr)
	return svc.Run(ctx)
}
