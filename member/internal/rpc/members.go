package rpc

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "example.com/fourfold/api/event/v1"
	memberv1 "example.com/fourfold/api/member/v1"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/service"
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

// SignUp creates a shopper and publishes member.registered, both or neither. It does not need the broker. The password is hashed first, so that
// neither a row nor a half message waits for that.
func (s *Members) SignUp(ctx context.Context, req *memberv1.SignUpRequest) (*memberv1.SignUpReply, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	m, err := member.New(id.String(), req.GetPhone(), req.GetEmail(), req.GetName(), member.Shopper)
	if err != nil {
		return nil, Error(err)
	}
	if err := password.Check(req.GetPassword(), m); err != nil {
		return nil, Error(err)
	}
	hash, err := s.passwords.Hash(ctx, req.GetPassword())
	if err != nil {
		return nil, Error(err)
	}
	event, err := registered(m)
	if err != nil {
		return nil, err
	}
	err = s.outbox.PublishInTx(ctx, eventv1.TopicMembers, event, func(tx *sql.Tx) error {
		return s.store.Create(ctx, tx, m, hash)
	})
	if err != nil {
		return nil, Error(err)
	}
	service.Code(ctx, http.StatusCreated)
	return &memberv1.SignUpReply{MemberId: m.ID}, nil
}

// registered returns the event that tells other services of m.
func registered(m member.Member) (mq.Event, error) {
	data, err := mq.Data(&eventv1.MemberRegistered{MemberId: m.ID, Phone: m.Phone, Email: m.Email, Name: m.Name})
	return mq.Event{Type: eventv1.TypeMemberRegistered, Subject: m.ID, Data: data}, err
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
