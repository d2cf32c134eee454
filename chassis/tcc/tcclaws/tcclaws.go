// Package tcclaws holds the laws of a participant: whatever the coordinator and the network do to its calls, a branch is
// tried, confirmed and canceled once in effect. Every participant runs the whole suite on a real database.
package tcclaws

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/tcc"
)

// Branch is a participant that is ready for its Try.
type Branch struct {
	// Name is the participant's name, as given to tcc.NewParticipant. No other test may use it: the laws count the phases recorded under it.
	Name string
	Keys tcc.Keys
	DB   *sql.DB
	// Subject and GID are those of the transaction that the participant is ready for.
	Subject, GID string
	// Calls call the handlers with the subject's payload.
	Calls
	// Snapshot returns everything the branch may change, as text: equal texts mean equal states.
	Snapshot func(t testing.TB) string
	// Before, Tried, Confirmed and Canceled are the expected snapshots. Canceled is the one after a Try that ran.
	Before, Tried, Confirmed, Canceled string
	// Refuse makes the next Try refuse and returns the reason expected.
	Refuse func(t testing.TB) string
	// Lock is SQL, like SELECT … FOR UPDATE, that locks a row which the Try needs after its barrier row.
	Lock string
}

// Calls call the three handlers of a branch.
type Calls struct {
	Try, Confirm, Cancel func(ctx context.Context, subject string) error
}

// Handlers returns the Calls of a branch, whose request is made from the subject.
func Handlers[R any](branch interface {
	Try(context.Context, R) (*emptypb.Empty, error)
	Confirm(context.Context, R) (*emptypb.Empty, error)
	Cancel(context.Context, R) (*emptypb.Empty, error)
}, request func(subject string) R) Calls {
	call := func(phase func(context.Context, R) (*emptypb.Empty, error)) func(context.Context, string) error {
		return func(ctx context.Context, subject string) error {
			_, err := phase(ctx, request(subject))
			return err
		}
	}
	return Calls{call(branch.Try), call(branch.Confirm), call(branch.Cancel)}
}

// Deliver calls one phase, "try", "confirm" or "cancel", as the coordinator would.
func (c Calls) Deliver(ctx context.Context, keys tcc.Keys, op, gid, subject string) error {
	return c.deliver(ctx, op, op, gid, subject, keys.Headers(gid, subject))
}

// deliver calls the handler of op with headers that say headerOp.
func (c Calls) deliver(ctx context.Context, op, headerOp, gid, subject string, headers map[string]string) error {
	md := metadata.New(headers)
	md.Set("dtm-gid", gid)
	md.Set("dtm-trans_type", "tcc")
	md.Set("dtm-branch_id", branchID)
	md.Set("dtm-op", headerOp)
	handlers := map[string]func(context.Context, string) error{"try": c.Try, "confirm": c.Confirm, "cancel": c.Cancel}
	return handlers[op](metadata.NewIncomingContext(ctx, md), subject)
}

// branchID is the branch's id in every transaction of the laws.
const branchID = "01"

// Run checks every law, each on a new Branch with a database of its own.
func Run(t *testing.T, newBranch func(t *testing.T) Branch) {
	count := countPhases()
	for name, law := range map[string]func(*testing.T, branch){
		"TryThenConfirm":               tryThenConfirm,
		"TryThenCancel":                tryThenCancel,
		"RepeatedTry":                  repeatedTry,
		"RepeatedConfirm":              repeatedConfirm,
		"RepeatedCancel":               repeatedCancel,
		"CancelWithoutTry":             cancelWithoutTry,
		"TryAfterCancel":               tryAfterCancel,
		"ConfirmWithoutTry":            confirmWithoutTry,
		"ConfirmAfterCancel":           confirmAfterCancel,
		"AnotherTransactionsCalls":     anotherTransactionsCalls,
		"AlmostTheSameID":              almostTheSameID,
		"RefusedTry":                   refusedTry,
		"WrongMAC":                     wrongMAC,
		"WrongPhase":                   wrongPhase,
		"CancelWaitsForUncommittedTry": cancelWaitsForUncommittedTry,
		"CancelsWaitForRefusedTry":     cancelsWaitForRefusedTry,
		"FewHops":                      fewHops,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			law(t, branch{newBranch(t), count})
		})
	}
	t.Run("Races", func(t *testing.T) {
		t.Parallel()
		races(t, func(t *testing.T) branch { return branch{newBranch(t), count} })
	})
}

// branch adds the calls that the laws are written in.
type branch struct {
	Branch
	count func(t testing.TB, participant, phase, outcome string) int64
}

// phase calls one phase as the coordinator would.
func (s branch) phase(op string) error {
	return s.call(op, op, s.GID, s.Keys.Headers(s.GID, s.Subject))
}

// call calls the handler of op with the headers given.
func (s branch) call(op, headerOp, gid string, headers map[string]string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return s.deliver(ctx, op, headerOp, gid, s.Subject, headers)
}

func (s branch) must(t testing.TB, op string) {
	t.Helper()
	require.NoError(t, s.phase(op), op)
}

func (s branch) reads(t testing.TB, want, after string) {
	t.Helper()
	require.Equal(t, want, s.Snapshot(t), "after %s", after)
}

func tryThenConfirm(t *testing.T, s branch) {
	s.reads(t, s.Before, "nothing")
	s.must(t, "try")
	s.reads(t, s.Tried, "Try")
	s.must(t, "confirm")
	s.reads(t, s.Confirmed, "Confirm")
}

func tryThenCancel(t *testing.T, s branch) {
	s.must(t, "try")
	s.must(t, "cancel")
	s.reads(t, s.Canceled, "Cancel")
}

func repeatedTry(t *testing.T, s branch) {
	s.must(t, "try")
	s.must(t, "try")
	s.reads(t, s.Tried, "a second Try")
}

func repeatedConfirm(t *testing.T, s branch) {
	s.must(t, "try")
	s.must(t, "confirm")
	s.must(t, "confirm")
	s.reads(t, s.Confirmed, "a second Confirm")
	s.must(t, "try")
	s.reads(t, s.Confirmed, "a Try that came after all")
}

func repeatedCancel(t *testing.T, s branch) {
	s.must(t, "try")
	s.must(t, "cancel")
	s.must(t, "cancel")
	s.reads(t, s.Canceled, "a second Cancel")
}

// cancelWithoutTry: an empty rollback succeeds, else the coordinator would retry it for ever, and changes nothing.
func cancelWithoutTry(t *testing.T, s branch) {
	s.must(t, "cancel")
	s.reads(t, s.Before, "an empty Cancel")
}

// tryAfterCancel: a Try that was delayed in the network must not reserve what nothing will release.
func tryAfterCancel(t *testing.T, s branch) {
	s.must(t, "cancel")
	s.must(t, "try")
	s.reads(t, s.Before, "a Try behind its Cancel")
	s.must(t, "cancel")
	s.reads(t, s.Before, "one more Cancel")
}

// confirmWithoutTry: the call is forged, or the row is lost. It is an error (never a refusal), changes nothing and is counted.
func confirmWithoutTry(t *testing.T, s branch) {
	before := s.count(t, s.Name, "confirm", "not_tried")
	err := s.phase("confirm")
	require.Error(t, err)
	assert.Equal(t, 500, kerrors.Code(err))
	assert.Equal(t, "BRANCH_NOT_TRIED", kerrors.Reason(err))
	s.reads(t, s.Before, "a forged Confirm")
	assert.Equal(t, before+1, s.count(t, s.Name, "confirm", "not_tried"))

	// Nor may it prevent the real calls.
	s.must(t, "try")
	s.must(t, "confirm")
	s.reads(t, s.Confirmed, "the real Confirm")
}

func confirmAfterCancel(t *testing.T, s branch) {
	s.must(t, "try")
	s.must(t, "cancel")
	require.Error(t, s.phase("confirm"))
	s.reads(t, s.Canceled, "a Confirm behind its Cancel")
}

// anotherTransactionsCalls: what one gid tried, another gid, though properly signed, neither confirms nor cancels.
func anotherTransactionsCalls(t *testing.T, s branch) {
	s.must(t, "try")
	other := "other-" + s.GID
	headers := s.Keys.Headers(other, s.Subject)
	require.Error(t, s.call("confirm", "confirm", other, headers))
	s.reads(t, s.Tried, "another transaction's Confirm")
	require.NoError(t, s.call("cancel", "cancel", other, headers), "an empty rollback")
	s.reads(t, s.Tried, "another transaction's Cancel")
	require.Error(t, s.call("try", "try", other+"-2", s.Keys.Headers(other+"-2", s.Subject)))
	s.reads(t, s.Tried, "another transaction's Try")
}

// almostTheSameID: an id that differs by case or by a trailing space is that of another order or transaction.
func almostTheSameID(t *testing.T, s branch) {
	s.must(t, "try")
	for _, id := range []string{strings.ToUpper(s.Subject), s.Subject + " "} {
		require.NotEqual(t, s.Subject, id)
		other := s
		other.Subject = id
		require.Error(t, other.phase("confirm"), "Confirm of order %q", id)
		require.Error(t, other.phase("cancel"), "Cancel of order %q", id)
		s.reads(t, s.Tried, fmt.Sprintf("calls for order %q", id))
	}
	other := s
	other.GID = strings.ToUpper(s.GID)
	require.NotEqual(t, s.GID, other.GID)
	require.Error(t, other.phase("confirm"), "nobody tried that")
	require.NoError(t, other.phase("cancel"), "an empty rollback")
	s.reads(t, s.Tried, "calls of transaction "+other.GID)
	blank := s
	blank.GID = s.GID + " "
	require.Equal(t, 403, kerrors.Code(blank.phase("confirm")))
	s.must(t, "confirm")
	s.reads(t, s.Confirmed, "the real Confirm")
}

// refusedTry: a refusal is gRPC Aborted with its reason, and leaves nothing behind.
func refusedTry(t *testing.T, s branch) {
	reason := s.Refuse(t)
	before := s.Snapshot(t)
	err := s.phase("try")
	require.True(t, tcc.Refused(err), "%v", err)
	assert.Equal(t, codes.Aborted, status.Code(err))
	assert.Equal(t, reason, kerrors.Reason(err))
	s.reads(t, before, "a refused Try")
	s.must(t, "cancel")
	s.reads(t, before, "the Cancel of a refused Try")
}

func wrongMAC(t *testing.T, s branch) {
	stranger, err := tcc.ParseKeys("k1:ffffffffffffffffffffffffffffffff")
	require.NoError(t, err)
	s.must(t, "try")
	for name, headers := range map[string]map[string]string{
		"none":                    {},
		"of another subject":      s.Keys.Headers(s.GID, "another-"+s.Subject),
		"of another transaction":  s.Keys.Headers("another-"+s.GID, s.Subject),
		"by somebody else's key":  stranger.Headers(s.GID, s.Subject),
		"of a key nobody knows":   {"x-branch-mac": "k9.00"},
		"that is not even hex":    {"x-branch-mac": "k1.zz"},
		"with the parts run over": s.Keys.Headers(s.GID+s.Subject[:1], s.Subject[1:]),
	} {
		for _, op := range []string{"try", "confirm", "cancel"} {
			err := s.call(op, op, s.GID, headers)
			assert.Equal(t, 403, kerrors.Code(err), "%s with a MAC %s: %v", op, name, err)
		}
	}
	s.reads(t, s.Tried, "calls with wrong MACs")
}

// wrongPhase: the headers' op must be the method's, otherwise one phase's barrier row would be written by another.
func wrongPhase(t *testing.T, s branch) {
	for _, op := range []string{"try", "confirm", "cancel"} {
		for _, said := range []string{"try", "confirm", "cancel", "action", ""} {
			if op == said {
				continue
			}
			err := s.call(op, said, s.GID, s.Keys.Headers(s.GID, s.Subject))
			assert.Equal(t, 403, kerrors.Code(err), "%s called as %q: %v", op, said, err)
		}
	}
	long := fmt.Sprintf("%065d", 1)
	assert.Equal(t, 403, kerrors.Code(s.call("try", "try", long, s.Keys.Headers(long, s.Subject))), "a gid that the barrier would cut")
	s.reads(t, s.Before, "calls of the wrong phase")
}

// maxHops is how many functions may lie between the call of a Try and the database: a reader has to go through all of them.
const maxHops = 6

func fewHops(t *testing.T, s branch) {
	way := mysqltest.Hops(func() { s.must(t, "try") })
	t.Log(strings.Join(way, " → "))
	assert.NotEmpty(t, way)
	assert.LessOrEqual(t, len(way), maxHops, "%q", way)
}
