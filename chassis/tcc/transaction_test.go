package tcc_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/tcc"
)

// branchOf returns a branch whose request is text.
func branchOf(id, text string) tcc.Branch {
	return tcc.Branch{ID: id, Addr: "127.0.0.1:1", Try: "/test.v1.Branch/Try", Confirm: "/test.v1.Branch/Confirm",
		Cancel: "/test.v1.Branch/Cancel", Payload: wrapperspb.String(text)}
}

func branchesOf(n int) []tcc.Branch {
	var all []tcc.Branch
	for i := range n {
		all = append(all, branchOf(fmt.Sprintf("%02d", i+1), "order-1"))
	}
	return all
}

// options returns what the coordinator writes into its column trans_global.options, which TestOptionsOfBranches of deploy/dtm compares with the
// real one.
func options(t testing.TB, l *log) string {
	t.Helper()
	headers, err := json.Marshal(l.last().GetTransOptions().GetBranchHeaders())
	require.NoError(t, err)
	return fmt.Sprintf(`{"timeout_to_fail":%d,"branch_headers":%s,"concurrent":false}`, l.last().GetTransOptions().GetTimeoutToFail(), headers)
}

// TestEightBranches: the coordinator's log has room for eight branches, with the trace and the longest key id. What it holds is one MAC a
// branch, good for nothing but that branch's Confirm and Cancel.
func TestEightBranches(t *testing.T) {
	otel.SetTextMapPropagator(propagation.TraceContext{})
	const keys = "a-long-key-id-16:00112233445566778899aabbccddeeff"
	l := newLog(t)
	ctx, span := trace.NewTracerProvider().Tracer("x").Start(t.Context(), "checkout")
	defer span.End()
	gid := "checkout-01a203e4-70dd-7b2b-a125-45961a4e32a2"
	_, err := l.dial(t, keys).Prepare(ctx, gid, "order-1", 9*time.Second, branchesOf(8)...)
	require.NoError(t, err)
	kept := l.last().GetTransOptions().GetBranchHeaders()
	assert.NotEmpty(t, kept["traceparent"])
	assert.LessOrEqual(t, utf8.RuneCountInString(options(t, l)), 1024)
	t.Logf("%d of 1024 characters", len(options(t, l)))

	signer, err := mac.Parse(keys)
	require.NoError(t, err)
	macs := map[string]bool{}
	for _, b := range branchesOf(8) {
		name := "x-branch-mac-" + b.ID
		macs[kept[name]] = true
		for phase, same := range map[tcc.Phase]bool{tcc.Try: false, tcc.Confirm: true, tcc.Cancel: true} {
			call := tcc.Call{GID: gid, Branch: b.ID, Phase: phase, Service: "test.v1.Branch", Subject: "order-1", Payload: []byte("\n\aorder-1")}
			assert.Equal(t, same, kept[name] == call.Headers(signer)[name], "%s of %s", phase, b.ID)
		}
	}
	assert.Len(t, macs, 8, "each branch has its own")
	assert.Len(t, kept, 9)
}

// TestPrepareRefuses: branches that the coordinator could not keep or no participant would accept are refused before the coordinator hears of
// them.
func TestPrepareRefuses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		branches []tcc.Branch
		why      string
	}{
		"more than fit":     {branchesOf(16), "g-1 has 16 branches, whose headers take 1"},
		"an id twice":       {[]tcc.Branch{branchOf("01", "o"), branchOf("01", "o")}, `branch "01" of g-1: the id is taken`},
		"no id":             {[]tcc.Branch{branchOf("", "o")}, "the id is taken, or does not read"},
		"no header's id":    {[]tcc.Branch{branchOf("0 1", "o")}, "the id is taken, or does not read"},
		"an id in capitals": {[]tcc.Branch{branchOf("A", "o")}, "the id is taken, or does not read"},
		"two services": {[]tcc.Branch{{ID: "01", Confirm: "/a.B/Confirm", Cancel: "/a.C/Cancel", Payload: wrapperspb.String("o")}},
			"a branch is one service: /a.C/Cancel is none of a.B"},
		"another's Try": {
			[]tcc.Branch{{ID: "01", Try: "/a.C/Try", Confirm: "/a.B/Confirm", Cancel: "/a.B/Cancel", Payload: wrapperspb.String("o")}},
			"a branch is one service: /a.C/Try is none of a.B"},
		"no text": {[]tcc.Branch{branchOf("01", "\xff")}, "UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLog(t)
			global, err := l.dial(t, "k1:00112233445566778899aabbccddeeff").Prepare(t.Context(), "g-1", "o", time.Second, tt.branches...)
			require.ErrorContains(t, err, tt.why)
			assert.False(t, tcc.Refused(err), "nobody has decided anything")
			require.NotNil(t, global)
			assert.Nil(t, l.last(), "the coordinator was asked")
		})
	}
}

// TestPrepareFillsTheColumn: as many characters as the column has are accepted, and one more is refused.
func TestPrepareFillsTheColumn(t *testing.T) {
	t.Parallel()
	const key = ":00112233445566778899aabbccddeeff"
	l := newLog(t)
	length := func(key string, ids []string) (int, error) {
		var branches []tcc.Branch
		for _, id := range ids {
			branches = append(branches, branchOf(id, "o"))
		}
		_, err := l.dial(t, key).Prepare(t.Context(), "g-1", "o", 8*time.Second, branches...)
		return utf8.RuneCountInString(options(t, l)), err
	}
	ids := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"}
	least, err := length("k"+key, ids)
	require.NoError(t, err)
	require.Less(t, least, 1024)
	// Longer ids fill the rest.
	for i, left := 0, 1024-least; left > 0; i++ {
		more := min(left, 15)
		ids[i] += strings.Repeat("x", more)
		left -= more
	}
	full, err := length("k"+key, ids)
	require.NoError(t, err)
	require.Equal(t, 1024, full)
	ids[13] += "x"
	_, err = length("k"+key, ids)
	require.ErrorContains(t, err, "take 1025 characters of the coordinator's log; it has 1024 for them")
}

// TestUnknownBranch: what was not prepared has no MAC, so it is not tried.
func TestUnknownBranch(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	global, err := l.dial(t, "k1:00112233445566778899aabbccddeeff").Prepare(t.Context(), "g-1", "o", time.Second, branchesOf(2)...)
	require.NoError(t, err)
	require.ErrorContains(t, global.Try(t.Context(), nil, "03"), "not prepared")
	assert.ElementsMatch(t, []string{"01", "02"}, slices.Collect(maps.Keys(l.branches["g-1"])))
}

// TestBranchesAreKept: a coordinator that does not say that it has all branches, as DTM's own, which would confirm none, is not trusted.
func TestBranchesAreKept(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	l.silent = true
	_, err := l.dial(t, "k1:00112233445566778899aabbccddeeff").Prepare(t.Context(), "g-1", "o", time.Second, branchesOf(2)...)
	require.ErrorContains(t, err, "has kept [] of 2 branches of g-1")
}
