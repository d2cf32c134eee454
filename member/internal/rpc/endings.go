package rpc

import (
	"context"
	"time"

	memberv1 "example.com/fourfold/api/member/v1"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/member/internal/mysql"
)

// Endings serves which tokens were ended.
type Endings struct {
	memberv1.UnimplementedEndingsServer
	keys  mac.Keys
	store *mysql.Store
	while time.Duration
}

// NewEndings returns the service over store for callers who hold one of keys. Tokens are valid for at most ttl; one that was made when that was
// longer is still refused for a day.
func NewEndings(keys mac.Keys, store *mysql.Store, ttl time.Duration) *Endings {
	return &Endings{keys: keys, store: store, while: max(ttl, 24*time.Hour) + time.Minute}
}

// ListEndings returns the members whose tokens were ended while one could still be valid.
func (s *Endings) ListEndings(ctx context.Context, req *memberv1.ListEndingsRequest) (*memberv1.ListEndingsReply, error) {
	if err := s.keys.CheckCall(ctx, memberv1.Endings_ListEndings_FullMethodName, req); err != nil {
		return nil, err
	}
	epochs, err := s.store.Endings(ctx, s.while)
	if err != nil {
		return nil, err
	}
	reply := new(memberv1.ListEndingsReply)
	for id, epoch := range epochs {
		reply.Endings = append(reply.Endings, &memberv1.Ending{MemberId: id, Epoch: epoch})
	}
	return reply, nil
}
