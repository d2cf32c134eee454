// Package endings learns from member which access tokens have ended before they expire.
package endings

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	memberv1 "example.com/fourfold/api/member/v1"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/loop"
	"example.com/fourfold/chassis/mac"
)

// Config says how soon it is learnt that tokens have ended.
type Config struct {
	// Every is the pause between two questions; 0 asks never, and tokens are good until they expire.
	Every time.Duration `yaml:"every"`
}

// Follower asks member for the endings.
type Follower struct {
	*identity.Endings
	members memberv1.EndingsClient
	keys    mac.Keys
	log     *slog.Logger
	away    bool
}

// New returns a Follower that asks at conn as a holder of keys. It knows of no endings before it has asked.
func New(conn grpc.ClientConnInterface, keys mac.Keys, log *slog.Logger) *Follower {
	return &Follower{Endings: new(identity.Endings), members: memberv1.NewEndingsClient(conn), keys: keys, log: log}
}

// Follow returns background work that asks as cfg says. While member does not answer, what was known last holds: nobody else is refused because
// member is away.
func (f *Follower) Follow(cfg Config) func(context.Context) error {
	if cfg.Every <= 0 {
		return func(context.Context) error { return nil }
	}
	return loop.Every(cfg.Every, cfg.Every+time.Second, "ask which tokens have ended", func(ctx context.Context) error {
		err := f.ask(ctx)
		if err != nil && !f.away && !errors.Is(ctx.Err(), context.Canceled) { // a member that is silent ends the time for one question only
			f.log.Warn("member does not say which tokens have ended: what was known last holds", "err", err)
		}
		f.away = err != nil
		return nil
	})
}

func (f *Follower) ask(ctx context.Context) error {
	req := new(memberv1.ListEndingsRequest)
	reply, err := f.members.ListEndings(f.keys.Call(ctx, memberv1.Endings_ListEndings_FullMethodName, req), req)
	if err != nil {
		return err
	}
	epochs := make(map[string]int64, len(reply.GetEndings()))
	for _, e := range reply.GetEndings() {
		epochs[e.GetMemberId()] = e.GetEpoch()
	}
	f.Set(epochs)
	return nil
}
