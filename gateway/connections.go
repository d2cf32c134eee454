package main

import (
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	"example.com/fourfold/chassis/service"
	"example.com/fourfold/gateway/internal/messages"
	"example.com/fourfold/gateway/internal/transcode"
	"example.com/fourfold/gateway/internal/upstream"
)

// connections are to the services behind the gateway, by name.
type connections map[string]*grpc.ClientConn

// connect needs an address of each service. It does not need them to answer yet.
func connect(addrs map[string]string) (connections, error) {
	c := connections{}
	for _, s := range upstream.Services() {
		if addrs[s.Name] == "" {
			c.close()
			return nil, fmt.Errorf("the configuration has no address for upstreams.%s", s.Name)
		}
		conn, err := service.Dial(addrs[s.Name])
		if err != nil {
			c.close()
			return nil, fmt.Errorf("upstreams.%s: %w", s.Name, err)
		}
		c[s.Name] = conn
	}
	return c, nil
}

func (c connections) close() {
	for _, conn := range c {
		_ = conn.Close()
	}
}

// upstreams are what transcode serves: each service's own RPCs, and Messages of all of them together, each asked for patience at most.
func (c connections) upstreams(patience time.Duration, log *slog.Logger) []transcode.Upstream {
	var (
		all   []transcode.Upstream
		asked []messages.Service
	)
	for _, s := range upstream.Services() {
		all = append(all, transcode.Upstream{File: s.File, Conn: c[s.Name]})
		asked = append(asked, messages.Service{Name: s.Name, Conn: c[s.Name]})
	}
	return append(all, transcode.Upstream{File: upstream.Messages(), Conn: messages.New(asked, patience, log)})
}
