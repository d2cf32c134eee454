package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/messaging"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mtls"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/gateway/internal/fanin"
	"example.com/fourfold/gateway/internal/live"
	"example.com/fourfold/gateway/internal/transcode"
	"example.com/fourfold/gateway/internal/upstream"
)

// connections are to the services behind the gateway, by name.
type connections map[string]*grpc.ClientConn

// connect dials the services. It needs an address of each, and of no other; the services need not answer yet.
func connect(addrs map[string]string, tls mtls.Config) (connections, error) {
	c := connections{}
	for _, s := range upstream.Services() {
		if addrs[s.Name] == "" {
			c.close()
			return nil, fmt.Errorf("the configuration has no address for upstreams.%s", s.Name)
		}
		conn, err := service.Dial(addrs[s.Name], tls)
		if err != nil {
			c.close()
			return nil, fmt.Errorf("upstreams.%s: %w", s.Name, err)
		}
		c[s.Name] = conn
	}
	for name := range addrs {
		if c[name] == nil {
			c.close()
			return nil, fmt.Errorf("upstreams.%s: there is no service of this name", name)
		}
	}
	return c, nil
}

func (c connections) close() {
	for _, conn := range c {
		_ = conn.Close()
	}
}

// attach makes svc ready when all services are that are not Optional, and lets it close the connections.
func (c connections) attach(svc *service.Service) {
	svc.OnClose(c.close)
	for _, s := range upstream.Services() {
		if !s.Optional {
			svc.Ready(s.Name, upstream.Ready(c[s.Name]))
		}
	}
}

// upstreams returns what transcode serves: each service's own RPCs, and Messages of all of them together, each asked for at most patience.
func (c connections) upstreams(patience time.Duration, log *slog.Logger) []transcode.Upstream {
	var (
		all   []transcode.Upstream
		asked []fanin.Service
	)
	for _, s := range upstream.Services() {
		all = append(all, transcode.Upstream{File: s.File, Conn: c[s.Name]})
		asked = append(asked, fanin.Service{Name: s.Name, Conn: c[s.Name]})
	}
	return append(all, transcode.Upstream{File: upstream.Messages(), Conn: fanin.New(asked, patience, log)})
}

// streams returns the streams of order events. The broker's events, which svc follows, wake them, and they read their orders from the order
// service.
func (c config) streams(svc *service.Service, conns connections, ended *identity.Endings) (*live.Streams, error) {
	ways, err := messaging.Dial(svc, c.MQ)
	if err != nil {
		return nil, err
	}
	if c.MQ.Keys.None() {
		return nil, errors.New("mq.keys: the keys that events are signed with are missing")
	}
	events := mq.NewBus(svc.Name(), ways, c.MQ.Config.Config)
	hub := live.NewHub(c.Live)
	svc.Go(func(ctx context.Context) error { return hub.Follow(ctx, events) })
	return live.New(c.Live, hub, conns["order"], ended, svc.Stopped(), prometheus.DefaultRegisterer)
}
