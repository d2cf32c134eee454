package rpc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"strings"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/go-kratos/kratos/v2/transport"
	"google.golang.org/protobuf/proto"

	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/order/internal/mysql"
)

// idempotent is one call with its Idempotency-Key. Only final answers are kept: a call whose outcome is open may be repeated and finds out more.
type idempotent struct {
	store *mysql.Store
	key   mysql.Key
	hash  []byte
}

// idempotent reads the caller's Idempotency-Key. path distinguishes calls of different meaning. It returns IDEMPOTENCY_KEY (400) when there is
// no key or it is not 1 to 100 printable ASCII characters.
func (s *Orders) idempotent(ctx context.Context, path string, req proto.Message) (idempotent, error) {
	key := ""
	if tr, ok := transport.FromServerContext(ctx); ok {
		key = tr.RequestHeader().Get("idempotency-key")
	}
	if key == "" || len(key) > 100 || strings.ContainsFunc(key, func(r rune) bool { return r < '!' || r > '~' }) {
		return idempotent{}, orderv1.ErrorIdempotencyKey(
			"send the header Idempotency-Key: 1 to 100 printable characters, new for each new intention, the same when you repeat it")
	}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(req)
	if err != nil {
		return idempotent{}, err
	}
	hash := sha256.Sum256(body)
	return idempotent{s.store, mysql.Key{MemberID: identity.FromContext(ctx).MemberID, Path: path, Key: key}, hash[:]}, nil
}

// earlier returns the final answer that this call got earlier: an order, or its error; neither when there is none. It returns
// IDEMPOTENCY_KEY_REUSED (422) when the key was used for another request.
func (r idempotent) earlier(ctx context.Context) (*orderv1.Order, error) {
	a, ok, err := r.store.Answer(ctx, r.key)
	if err != nil || !ok {
		return nil, err
	}
	if !bytes.Equal(a.Hash, r.hash) {
		return nil, orderv1.ErrorIdempotencyKeyReused("this Idempotency-Key was used for another request: take a new one")
	}
	if a.Code >= 300 {
		e := &kerrors.Error{}
		if err := proto.Unmarshal(a.Reply, &e.Status); err != nil {
			return nil, err
		}
		return nil, e
	}
	o := &orderv1.Order{}
	if err := proto.Unmarshal(a.Reply, o); err != nil {
		return nil, err
	}
	service.Code(ctx, a.Code)
	return o, nil
}

// answer makes the answer to keep of a final reply.
func (r idempotent) answer(code int, reply proto.Message) (mysql.Answer, error) {
	b, err := proto.Marshal(reply)
	return mysql.Answer{Hash: r.hash, Code: code, Reply: b}, err
}

// keep remembers a final reply whose effect is committed already. Another call with the key may have been faster; both say the same. If the
// reply cannot be kept it is still true: a repetition is answered from the order's row again.
func (r idempotent) keep(ctx context.Context, code int, reply proto.Message) {
	a, err := r.answer(code, reply)
	if err == nil {
		err = r.store.Remember(ctx, r.key, a)
	}
	if err != nil && !errors.Is(err, mysql.ErrAnswered) {
		slog.WarnContext(ctx, "final answer not kept", "path", r.key.Path, "err", err)
	}
}
