// Package idempotency gives a call with an Idempotency-Key one effect and one final answer, however often it is made. The answer is a row that
// is written in the local transaction of the effect; its primary key decides between calls at once: the loser's effect is rolled back with it,
// and it answers what the winner did.
//
// The service's migrations make the table:
//
//	CREATE TABLE idempotency (
//	  member_id  VARCHAR(64)   COLLATE utf8mb4_bin NOT NULL,
//	  path       VARCHAR(100)  COLLATE utf8mb4_bin NOT NULL,
//	  idem_key   VARCHAR(100)  COLLATE utf8mb4_bin NOT NULL,
//	  body_hash  VARBINARY(32) NOT NULL,
//	  code       INT           NOT NULL,
//	  reply      MEDIUMBLOB    NOT NULL,
//	  created_at DATETIME(3)   NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
//	  PRIMARY KEY (member_id, path, idem_key),
//	  KEY created_at (created_at)
//	) DEFAULT CHARSET = utf8mb4;
//
// That a call has a key is demanded by the service's frame, of the methods whose proto says (idempotency.v1.key).
package idempotency

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"google.golang.org/protobuf/proto"

	idempotencyv1 "example.com/fourfold/api/idempotency/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/batch"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/service"
)

// ErrAnswered is returned when the call has a final answer already.
var ErrAnswered = errors.New("the call was answered before")

// MinKeep is the least time that answers are kept. An answer has to outlive the repetitions of its call: what is repeated later is done again.
const MinKeep = 24 * time.Hour

// Answers keeps the final answers of a service's calls.
type Answers struct {
	earlier *batch.Runner[*kept]
	late    *batch.Runner[[]any]
}

// New returns the Answers in db, which has the table.
func New(db *sql.DB) *Answers { return &Answers{batch.New(db, readEarlier), batch.New(db, keepLate)} }

// kept is what a call found of its earlier answer.
type kept struct {
	call         *Call
	found        bool
	hash, answer []byte
	code         int
}

// readEarlier is the work of Earlier.
func readEarlier() batch.Work[*kept] {
	return batch.Work[*kept]{Read: func(items []*batch.Item[*kept]) (all []batch.Statement) {
		for _, i := range items {
			k := i.Request
			all = append(all, batch.Find("SELECT body_hash, code, reply FROM idempotency WHERE member_id = ? AND path = ? AND idem_key = ?",
				[]any{k.call.memberID, k.call.path, k.call.key}, func(scan func(...any) error) error {
					k.found = true
					return scan(&k.hash, &k.code, &k.answer)
				}))
		}
		return all
	}}
}

// keepLate is the work of KeepLate.
func keepLate() batch.Work[[]any] {
	return batch.Work[[]any]{Write: func(items []*batch.Item[[]any]) ([]batch.Statement, error) {
		var rows batch.Values
		for _, i := range items {
			rows.Add(i.Request...)
		}
		writes := rows.Into(columns)
		writes[0].SQL += " ON DUPLICATE KEY UPDATE code = code" // the first answer stays
		return writes, nil
	}}
}

// columns are those of an answer, without when it was kept.
const columns = "idempotency (member_id, path, idem_key, body_hash, code, reply)"

// Open returns the Answers of svc, whose database is db. From Run on, svc deletes those that are older than keep, 0 for never. Open fails for
// less than MinKeep.
func Open(svc *service.Service, db *sql.DB, keep time.Duration) (*Answers, error) {
	if keep != 0 && keep < MinKeep {
		return nil, fmt.Errorf("keep.answers: at least %v, longer than anybody repeats a call; 0 keeps them for ever", MinKeep)
	}
	svc.Go(database.Retain(db, database.Retention{Table: "idempotency", Column: "created_at", Keep: keep}))
	return New(db), nil
}

// Call is one call with its Idempotency-Key. Only final answers are kept: a call whose outcome is open may be repeated and finds out more.
type Call struct {
	answers             *Answers
	memberID, path, key string
	hash                []byte
}

// Call returns the call with the request req that ctx belongs to. A key belongs to the caller and to path, at most 100 characters, which tells
// calls of different meaning apart.
func (a *Answers) Call(ctx context.Context, path string, req proto.Message) (*Call, error) {
	key := service.IdempotencyKey(ctx)
	if key == "" {
		return nil, errors.New("no Idempotency-Key was demanded: the method's proto lacks (idempotency.v1.key)")
	}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(req)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(body)
	return &Call{a, identity.FromContext(ctx).MemberID, path, key, hash[:]}, nil
}

// Earlier returns the final answer that c got earlier: its reply, or its error; neither when there is none. It returns IDEMPOTENCY_KEY_REUSED
// (422) when the key was used for another request.
func Earlier[T any, M interface {
	*T
	proto.Message
}](ctx context.Context, c *Call) (M, error) {
	k := &kept{call: c}
	err := c.answers.earlier.Do(ctx, k)
	switch {
	case err != nil || !k.found:
		return nil, err
	case !bytes.Equal(k.hash, c.hash):
		return nil, idempotencyv1.ErrorIdempotencyKeyReused("this Idempotency-Key was used for another request: take a new one")
	case k.code >= 300:
		refusal := &kerrors.Error{}
		if err := proto.Unmarshal(k.answer, &refusal.Status); err != nil {
			return nil, err
		}
		return nil, refusal
	}
	reply := M(new(T))
	if err := proto.Unmarshal(k.answer, reply); err != nil {
		return nil, err
	}
	service.Code(ctx, k.code)
	return reply, nil
}

// Keep keeps in tx, the local transaction of the effect, the final answer of c: the HTTP status, and the reply, or for 300 and above the status
// of the error. It returns ErrAnswered when c has one: the same call came twice at once, and the other one was faster. tx must then be rolled
// back; Earlier returns what the other one answered.
func (c *Call) Keep(ctx context.Context, tx *sql.Tx, code int, answer proto.Message) error {
	row, err := c.row(code, answer)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO "+columns+" VALUES (?, ?, ?, ?, ?, ?)", row...)
	if database.Duplicate(err) {
		return ErrAnswered
	}
	return err
}

func (c *Call) row(code int, answer proto.Message) ([]any, error) {
	b, err := proto.Marshal(answer)
	return []any{c.memberID, c.path, c.key, c.hash, code, b}, err
}

// KeepLate keeps a final answer whose effect is committed already, for a call that is safe without its key. Another call with the key may have
// been faster; both say the same. When the answer cannot be kept it is still true: a repetition has to find it out again.
func (c *Call) KeepLate(ctx context.Context, code int, answer proto.Message) {
	row, err := c.row(code, answer)
	if err == nil {
		err = c.answers.late.Do(ctx, row)
	}
	if err != nil {
		slog.WarnContext(ctx, "final answer not kept", "path", c.path, "err", err)
	}
}
