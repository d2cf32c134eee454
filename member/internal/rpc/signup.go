package rpc

import (
	"context"
	"database/sql"
	"errors"
	"net/http"

	"github.com/google/uuid"

	eventv1 "example.com/fourfold/api/event/v1"
	memberv1 "example.com/fourfold/api/member/v1"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/member/internal/member"
	"example.com/fourfold/member/internal/password"
)

// SignUp creates a shopper and publishes member.registered, both or neither. It does not need the broker. The password is hashed first, so that
// neither a row nor a half message waits for that.
//
// Where the phone or the email is taken it creates nobody and answers the same after the same work: one hash, one publication. The owner is
// told. Who repeats a sign-up with the same password is the owner, and gets the same answer again.
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
	owners, err := s.owners(ctx, m)
	if err != nil {
		return nil, err
	}
	reply := &memberv1.SignUpReply{MemberId: m.ID}
	if len(owners) > 0 {
		same, err := s.same(ctx, m, owners, req.GetPassword())
		if err != nil {
			return nil, err
		}
		if same {
			reply.MemberId = owners[0].ID
		} else if err := s.tell(ctx, owners); err != nil {
			return nil, err
		}
	} else if err := s.create(ctx, m, req.GetPassword()); err != nil {
		return nil, err
	}
	service.Code(ctx, http.StatusCreated)
	return reply, nil
}

// owner is a member who has the phone or the email of a sign-up.
type owner struct {
	member.Member
	hash string
}

// owners returns the members who have m's phone or email.
func (s *Members) owners(ctx context.Context, m member.Member) (all []owner, err error) {
	for _, login := range []member.Login{{Phone: m.Phone}, {Email: m.Email}} {
		found, hash, err := s.store.ByLogin(ctx, login)
		switch {
		case errors.Is(err, member.ErrNotFound):
		case err != nil:
			return nil, err
		case len(all) == 0 || all[0].ID != found.ID:
			all = append(all, owner{found, hash})
		}
	}
	return all, nil
}

// same reports whether m's sign-up repeats that of its only owner: it has phone, email and password of theirs. That is a guess of the password, and
// counted as one; one too many is not looked at, and takes as long.
func (s *Members) same(ctx context.Context, m member.Member, owners []owner, secret string) (bool, error) {
	hash, o := "", owners[0]
	guess, err := s.guesses.take(ctx, m.Email, o.ID)
	if err == nil && len(owners) == 1 && o.Phone == m.Phone && o.Email == m.Email {
		hash = o.hash
	} else if err != nil && !memberv1.IsTooManyGuesses(err) {
		return false, err
	}
	match, _, err := s.passwords.Match(ctx, secret, hash)
	if match && err == nil {
		err = guess.undone(ctx)
	}
	return match, Error(err)
}

// create makes m with this password.
func (s *Members) create(ctx context.Context, m member.Member, secret string) error {
	hash, err := s.passwords.Hash(ctx, secret)
	if err != nil {
		return Error(err)
	}
	event, err := registered(m)
	if err != nil {
		return err
	}
	err = s.outbox.PublishInTx(ctx, eventv1.TopicMembers, event, func(tx *sql.Tx) error { return s.store.Create(ctx, tx, m, hash) })
	if !errors.Is(err, member.ErrExists) {
		return err
	}
	owners, err := s.owners(ctx, m) // another sign-up was quicker
	if err != nil {
		return err
	}
	return s.tell(ctx, owners)
}

// errTold means that somebody was told within the last day.
var errTold = errors.New("told already")

// tell lets each of owners be told that somebody tried to sign up as them, at most once a day.
func (s *Members) tell(ctx context.Context, owners []owner) error {
	for _, o := range owners {
		data, err := mq.Data(&eventv1.SignUpRefused{MemberId: o.ID, Email: o.Email, Name: o.Name})
		if err != nil {
			return err
		}
		event := mq.Event{Type: eventv1.TypeSignUpRefused, Subject: o.ID, Data: data}
		err = s.outbox.PublishInTx(ctx, eventv1.TopicMembers, event, func(tx *sql.Tx) error {
			due, err := s.store.MarkTold(ctx, tx, o.ID)
			if err == nil && !due {
				err = errTold
			}
			return err
		})
		if err != nil && !errors.Is(err, errTold) {
			return err
		}
	}
	return nil
}

// registered returns the event that tells other services of m.
func registered(m member.Member) (mq.Event, error) {
	data, err := mq.Data(&eventv1.MemberRegistered{MemberId: m.ID, Phone: m.Phone, Email: m.Email, Name: m.Name})
	return mq.Event{Type: eventv1.TypeMemberRegistered, Subject: m.ID, Data: data}, err
}
