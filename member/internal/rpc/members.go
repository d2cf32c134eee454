package rpc

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	memberv1 "example.com/fourfold/api/member/v1"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/member/internal/member"
	"example.com/fourfold/member/internal/mysql"
	"example.com/fourfold/member/internal/password"
	"example.com/fourfold/member/internal/pseudonym"
)

// Members serves accounts and sign-in.
type Members struct {
	memberv1.UnimplementedMembersServer
	store     *mysql.Store
	outbox    *mq.Outbox
	passwords *password.Hasher
	tokens    *identity.Signer
	cfg       Config
	guesses   *guesses
}

// Config is what a shop decides.
type Config struct {
	// TokenTTL is how long access tokens are valid.
	TokenTTL time.Duration
	// Guesses bounds how often passwords may be guessed.
	Guesses Guesses
}

// NewMembers returns the service over store, which is on the outbox's database. The names of logins and addresses are kept under a key of tokens.
func NewMembers(store *mysql.Store, outbox *mq.Outbox, passwords *password.Hasher, tokens *identity.Signer, cfg Config) (*Members, error) {
	key, err := tokens.Secret("pseudonyms")
	if err != nil {
		return nil, err
	}
	return &Members{store: store, outbox: outbox, passwords: passwords, tokens: tokens, cfg: cfg,
		guesses: newGuesses(store, pseudonym.New(key), cfg.Guesses)}, nil
}

// SignIn returns an access token. It answers an unknown login and a wrong password alike, also in time, and counts both before it looks at the
// password: guesses that are too many cost no hash, and the right one is answered as the wrong ones are.
func (s *Members) SignIn(ctx context.Context, req *memberv1.SignInRequest) (*memberv1.SignInReply, error) {
	login := member.ParseLogin(req.GetLogin())
	m, hash, err := s.store.ByLogin(ctx, login)
	if err != nil && !errors.Is(err, member.ErrNotFound) {
		return nil, err
	}
	guess, err := s.guesses.take(ctx, login.Or(req.GetLogin()), m.ID)
	if err != nil {
		return nil, err
	}
	match, old, err := s.passwords.Match(ctx, req.GetPassword(), hash)
	if err != nil {
		_ = guess.undone(ctx) // at worst it counts as a wrong one
		return nil, Error(err)
	}
	if !match {
		guess.wrong(ctx)
		return nil, Error(member.ErrSignIn)
	}
	if old {
		if err := s.rehash(ctx, m.ID, hash, req.GetPassword()); err != nil {
			return nil, err
		}
	}
	if err := guess.right(ctx); err != nil {
		return nil, err
	}
	token, err := s.tokens.Sign(identity.Caller{MemberID: m.ID, Role: identity.Role(m.Role), Epoch: m.Epoch}, time.Now(), s.cfg.TokenTTL)
	if err != nil {
		return nil, err
	}
	return &memberv1.SignInReply{AccessToken: token, ExpiresIn: int32(s.cfg.TokenTTL.Seconds())}, nil
}

// rehash replaces a hash of the bytes as they were typed by one of their normal form, unless the password was changed meanwhile.
func (s *Members) rehash(ctx context.Context, memberID, old, password string) error {
	hash, err := s.passwords.Hash(ctx, password)
	if err != nil {
		return Error(err)
	}
	return s.store.Rehash(ctx, memberID, old, hash)
}

// GetMe returns the caller's own account.
func (s *Members) GetMe(ctx context.Context, _ *memberv1.GetMeRequest) (*memberv1.Member, error) {
	m, err := s.store.Member(ctx, identity.FromContext(ctx).MemberID)
	if err != nil {
		return nil, Error(err)
	}
	return &memberv1.Member{
		MemberId: m.ID, Phone: m.Phone, Email: m.Email, Name: m.Name, Role: protoRole(m.Role),
		CreatedAt: timestamppb.New(m.CreatedAt),
	}, nil
}

func protoRole(r member.Role) memberv1.Member_Role {
	switch r {
	case member.Shopper:
		return memberv1.Member_SHOPPER
	case member.Operator:
		return memberv1.Member_OPERATOR
	}
	return memberv1.Member_ROLE_UNSPECIFIED
}
