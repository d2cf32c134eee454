// Package redisdb says how this system talks to Redis: where it is, and with how much patience.
package redisdb

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"example.com/fourfold/chassis/authorities"
)

// Options returns the options of a client for addr that makes each call once and gives up after timeout. addr is host:port, or a URL with all
// that a server may ask for: redis://user:password@host:port/db, or rediss:// for TLS, as redis.ParseURL reads it. ca is a file with the
// certificates (PEM) of the authorities that the server's certificate must be of, the machine's when it is empty. An error does not show the
// password.
func Options(addr, ca string, timeout time.Duration) (*redis.Options, error) {
	o := &redis.Options{Addr: addr}
	if strings.Contains(addr, "://") {
		var err error
		if o, err = redis.ParseURL(addr); err != nil {
			return nil, errors.New("it is host:port, or a URL like redis://user:password@host:6379/0, rediss:// for TLS; what stands there is neither, " +
				"and is not shown, because it may hold a password")
		}
	} else if _, port, err := net.SplitHostPort(addr); err != nil || port == "" {
		return nil, fmt.Errorf("it is host:port, or a URL like redis://user:password@host:6379/0, not %q", addr)
	}
	if ca != "" {
		if o.TLSConfig == nil {
			return nil, errors.New("it has to begin with rediss:// where authorities (REDIS_CA) are set: without TLS they are not asked")
		}
		var err error
		if o.TLSConfig.RootCAs, err = authorities.Read(ca); err != nil {
			return nil, fmt.Errorf("REDIS_CA: %w", err)
		}
	}
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = timeout, timeout, timeout, timeout
	o.DialerRetries, o.DialerRetryTimeout = 1, time.Millisecond
	o.ContextTimeoutEnabled = true
	o.MaxRetries = -1 // a call that was not answered may have been executed
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return o, nil
}
