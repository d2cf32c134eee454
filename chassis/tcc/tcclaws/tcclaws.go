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
	"google.golang.org/grpc/status"

	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/tcc"
)

// Branch is a participant that is ready for its Try.
type Branch struct {
	// Name is the participant's name, as given to tcc.NewParticipant. No other test may use it: the laws count the phases recorded under it.
	Name string
	Keys mac.Keys
	DB   *sql.DB
	// Subject and GID are those of the transaction that the participant is ready for.
	Subject, GID string
	// Calls call the branch, which Serve serves.
	*Calls
	// Snapshot returns everything the branch may change, as text: equal texts mean equal states.
	Snapshot func(t testing.TB) string
	// Before, Tried, Confirmed and Canceled are the expected snapshots. Canceled is the one after a Try that ran.
	Before, Tried, Confirmed, Canceled string
	// Refuse makes the next Try refuse and returns the reason expected.
	Refuse func(t testing.TB) string
	// Lock is SQL, like SELECT … FOR UPDATE, that locks a row which the Try needs after its barrier row.
	Lock string
}

// Run checks every law, each on a new Branch with a database of its own.
func Run(t *testing.T, newBranch func(t *testing.T) Branch) {
	count := countPhases()
	for name, law := range map[string]func(*testing.T, branch){
		"TryThenConfirm":            tryThenConfirm,
		"TryThenCancel":             tryThenCancel,
		"RepeatedTry":               repeatedTry,
		"RepeatedConfirm":           repeatedConfirm,
		"RepeatedCancel":            repeatedCancel,
		"CancelWithoutTry":          cancelWithoutTry,
		"TryAfterCancel":            tryAfterCancel,
		"ConfirmWithoutTry":         confirmWithoutTry,
		"ConfirmAfterCancel":        confirmAfterCancel,
		"AnotherTransactionsCalls":  anotherTransactionsCalls,
		"AlmostTheSameID":           almostTheSameID,
		"RefusedTry":                refusedTry,
		"WrongMAC":                  wrongMAC,
		"WrongPhase":                wrongPhase,
		"AnotherBranch":             anotherBranch,
		"AnotherService":            anotherService,
		"AnotherClass":              anotherClass,
		"AnotherPayload":            anotherPayload,
		"ForeignEncoding":           foreignEncoding,
		"CancelMeetsUncommittedTry": cancelMeetsUncommittedTry,
		"CancelsMeetRefusedTry":     cancelsMeetRefusedTry,
		"RepeatedTriesMeet":         repeatedCallsMeet("try"),
		"RepeatedConfirmsMeet":      repeatedCallsMeet("confirm"),
		"RepeatedCancelsMeet":       repeatedCallsMeet("cancel"),
		"FewHops":                   fewHops,
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

// of returns the call of op as order or the coordinator makes it.
func (s branch) of(op string) tcc.Call {
	return s.call(op, s.GID, s.Subject, s.request(s.Subject))
}

// phase makes the call of op.
func (s branch) phase(op string) error { return s.sign(s.of(op)) }

// sign makes the call, whatever it is, with the headers that belong to it.
func (s branch) sign(c tcc.Call) error { return s.send(c, c.Headers(s.Keys)) }

// send makes the call with the headers given.
func (s branch) send(c tcc.Call, headers map[string]string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return s.Calls.send(ctx, c, headers)
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
	other := s
	other.GID = "other-" + s.GID
	require.Error(t, other.phase("confirm"))
	s.reads(t, s.Tried, "another transaction's Confirm")
	require.NoError(t, other.phase("cancel"), "an empty rollback")
	s.reads(t, s.Tried, "another transaction's Cancel")
	other.GID += "-2"
	require.Error(t, other.phase("try"))
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

// maxHops is how many functions may lie between the call of a Try and the database: a reader has to go through all of them. Two are the batch.
const maxHops = 7

func fewHops(t *testing.T, s branch) {
	way := mysqltest.Hops(func() { require.NoError(t, s.direct(s.of("try"), s.Keys)) })
	t.Log(strings.Join(way, " → "))
	assert.NotEmpty(t, way)
	assert.LessOrEqual(t, len(way), maxHops, "%q", way)
}
