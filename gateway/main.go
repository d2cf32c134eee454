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
	"example.com/fourfold/chassis/mq/rocketmq"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/gateway/internal/limit"
	"example.com/fourfold/gateway/internal/live"
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

	broker, err := rocketmq.Dial("gateway", cfg.MQ)
	if err != nil {
		return err
	}
	defer broker.Close()

	conns, err := connect(cfg.Upstreams)
	if err != nil {
		return err
	}
	defer conns.close()
	for _, u := range upstream.Services() {
		if !u.Aside {
			svc.Ready(u.Name, upstream.Ready(conns[u.Name]))
		}
	}

	hub := live.NewHub(cfg.Live.PerMember, cfg.Live.Total)
	streams, err := live.New(cfg.Live, hub, conns["order"], svc.Told(), prometheus.DefaultRegisterer)
	if err != nil {
		return err
	}
	svc.Go(func(ctx context.Context) error { return hub.Follow(ctx, broker) })

	server, err := newServer(cfg, parts{
		log:       svc.Log,
		probes:    svc.Probes(),
		verifier:  verifier,
		limiter:   limit.New(rdb, svc.Log),
		metrics:   prometheus.DefaultRegisterer,
		upstreams: conns.upstreams(cfg.Messages.Timeout.D(), svc.Log),
		streams:   streams,
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
