// Command gateway is the only public door: HTTP/JSON in front of the services' gRPC, with authentication, limits and the API's description. It
// keeps no state of its own.
package main

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9/logging"

	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/gateway/internal/endings"
	"example.com/fourfold/gateway/internal/limit"
)

func main() { service.Main("gateway", defaults, serve) }

// serve runs the service until ctx ends or the process is told to stop.
func serve(ctx context.Context, cfg config) error {
	svc, err := service.NewBare("gateway", cfg.Config)
	if err != nil {
		return err
	}
	defer svc.Close()
	verifier, err := identity.LoadVerifier(cfg.IdentityKeys)
	if err != nil {
		return err
	}
	conns, err := connect(cfg.Upstreams, cfg.TLS)
	if err != nil {
		return err
	}
	conns.attach(svc)
	ended := endings.New(conns["member"], cfg.MQ.Keys, svc.Log)
	svc.Go(ended.Follow(cfg.Endings))
	verifier = verifier.Heed(ended.Endings)
	streams, err := cfg.streams(svc, conns, ended.Endings)
	if err != nil {
		return err
	}
	logging.Disable() // the Redis client would log every failed dial; the limiter says it once a minute
	rdb, err := limit.Open(cfg.Redis)
	if err != nil {
		return fmt.Errorf("redis.addr: %w", err)
	}
	svc.OnClose(func() { _ = rdb.Close() })
	limiter, err := limit.New(rdb, svc.Log, prometheus.DefaultRegisterer)
	if err != nil {
		return err
	}
	svc.Degraded("limits", limiter.Degraded)
	server, err := newServer(cfg, parts{
		log: svc.Log, probes: svc.Probes(), stopping: svc.Stopping, metrics: prometheus.DefaultRegisterer,
		verifier: verifier, limiter: limiter, streams: streams,
		upstreams: conns.upstreams(cfg.Messages.Timeout, svc.Log),
	})
	if err != nil {
		return err
	}
	svc.Serve(server)
	svc.LameDuck(cfg.HTTP.LameDuck)
	svc.Log.Info("public door", "http", cfg.HTTP.Addr)
	return svc.Run(ctx)
}
