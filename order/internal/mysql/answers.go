package mysql

import (
	"context"
	"database/sql"
	"errors"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/order/internal/mysql/query"
)

// Key names one call that a member may repeat.
type Key struct{ MemberID, Path, Key string }

// Answer is the final answer to a call.
type Answer struct {
	// Hash is the request's. The same key with another hash is a mistake of the caller.
	Hash []byte
	// Code is the HTTP status; Reply is the order or the error as protobuf.
	Code  int
	Reply []byte
}

// ErrAnswered is returned when the key has an answer already.
var ErrAnswered = errors.New("the call was answered before")

// Answer returns the final answer that the call got before; ok is false when there is none yet.
func (s *Store) Answer(ctx context.Context, k Key) (a Answer, ok bool, err error) {
	row, err := s.q.GetAnswer(ctx, query.GetAnswerParams{MemberID: k.MemberID, Path: k.Path, IdemKey: k.Key})
	if errors.Is(err, sql.ErrNoRows) {
		return Answer{}, false, nil
	}
	return Answer{row.BodyHash, int(row.Code), row.Reply}, err == nil, err
}

// Remember keeps the final answer of a call. It returns ErrAnswered when there is one: the first stays.
func (s *Store) Remember(ctx context.Context, k Key, a Answer) error { return remember(ctx, s.q, k, a) }

func remember(ctx context.Context, q *query.Queries, k Key, a Answer) error {
	err := q.InsertAnswer(ctx, query.InsertAnswerParams{
		MemberID: k.MemberID, Path: k.Path, IdemKey: k.Key, BodyHash: a.Hash, Code: int32(a.Code), Reply: a.Reply,
	})
	if database.Duplicate(err) {
		return ErrAnswered
	}
	return err
}
