package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/dtm-labs/dtm/client/dtmgrpc/dtmgpb"
)

// TestBranchesComeWithPrepare: the caller is told how many branches are kept. A transaction without branches, and a branch that comes later, as
// DTM's own clients send it, are refused: nothing would confirm them.
func TestBranchesComeWithPrepare(t *testing.T) {
	t.Parallel()
	c, p := start(t, emptyDatabase(t, mariadb)...), newParticipant(t)
	var header metadata.MD
	req := request("two", 8, p.branch("01"), p.branch("02"))
	for range 2 { // it may be repeated
		if _, err := c.Prepare(t.Context(), req, grpc.Header(&header)); err != nil || strings.Join(header.Get("branches"), ",") != "2" {
			t.Errorf("Prepare: %v, branches %v", err, header.Get("branches"))
		}
	}
	for name, bad := range map[string]func(*dtmgpb.DtmRequest){
		"no branches":         func(r *dtmgpb.DtmRequest) { r.Steps, r.BinPayloads = "null", nil },
		"no steps":            func(r *dtmgpb.DtmRequest) { r.Steps = "" },
		"a payload too few":   func(r *dtmgpb.DtmRequest) { r.BinPayloads = r.BinPayloads[:1] },
		"a payload too many":  func(r *dtmgpb.DtmRequest) { r.BinPayloads = append(r.BinPayloads, nil) },
		"payloads and no ids": func(r *dtmgpb.DtmRequest) { r.Steps = "[]" },
	} {
		req := request(name, 8, p.branch("01"), p.branch("02"))
		bad(req)
		if _, err := c.Prepare(t.Context(), req); status.Code(err) != codes.Aborted {
			t.Errorf("%s: %v", name, err)
		}
		if got := c.status(name); got != "unknown" {
			t.Errorf("%s: the transaction is %s", name, got)
		}
	}
	_, err := c.RegisterBranch(t.Context(), &dtmgpb.DtmBranchRequest{Gid: "two", TransType: "tcc", BranchID: "03",
		Data: map[string]string{"confirm": "127.0.0.1:1/x/Confirm", "cancel": "127.0.0.1:1/x/Cancel"}})
	if status.Code(err) != codes.Aborted || !strings.Contains(err.Error(), "must come with Prepare") {
		t.Errorf("RegisterBranch: %v", err)
	}
	submit(t, c, req)
	if _, err := c.Prepare(t.Context(), req); status.Code(err) != codes.Aborted {
		t.Errorf("Prepare of a transaction that is decided: %v", err)
	}
}

// TestFirstBranchIsLast: all branches but the first are called at the same time, and the first when all others have succeeded.
func TestFirstBranchIsLast(t *testing.T) {
	t.Parallel()
	for _, phase := range []string{"Confirm", "Cancel"} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			env := append(emptyDatabase(t, mariadb), "RETRY_INTERVAL_MAX=600")
			c, p := start(t, env...), newParticipant(t)
			p.holds(3) // until three calls are there
			p.serve(t)
			req := openFour(t, c, p, "four", 8)
			decide(t, c, req, phase)
			eventually(t, 5*time.Second, "the end", func() bool { return finished(c.status("four")) })
			if got := p.order("four"); len(got) != 4 || got[3] != phase+"01" {
				t.Errorf("called in the order %v", got)
			}
		})
	}
}

// prepareOneAway prepares gid with four branches: three of p, and the third one of away, which does not serve yet.
func prepareOneAway(t *testing.T, gid string, timeoutToFail int64) (c *coordinator, p, away *participant, s session, req *dtmgpb.DtmRequest) {
	t.Helper()
	env := append(emptyDatabase(t, mariadb), "RETRY_INTERVAL_MAX=600")
	c, p, away, s = start(t, env...), newParticipant(t), newParticipant(t), newSession(t, env)
	p.serve(t)
	req = request(gid, timeoutToFail, p.branch("01"), p.branch("02"), away.branch("03"), p.branch("04"))
	if _, err := c.Prepare(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	return c, p, away, s, req
}

// TestFoundBranchesOneAfterAnother: a process that has not prepared the transaction calls one branch after another from the last on, and stops
// at the first that fails.
func TestFoundBranchesOneAfterAnother(t *testing.T) {
	t.Parallel()
	for _, phase := range []string{"Confirm", "Cancel"} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			c, p, away, s, req := prepareOneAway(t, "found", 60)
			c.kill()
			c.run(t)
			eventually(t, 20*time.Second, "ready again", c.ready)
			decide(t, c, req, phase)
			eventually(t, 5*time.Second, "a failed call", func() bool {
				return s.number(t, "SELECT tries FROM trans_branch_op WHERE branch_id = '03' AND op = ?", strings.ToLower(phase)) > 0
			})
			if got := p.order("found"); !slices.Equal(got, []string{phase + "04"}) {
				t.Errorf("beside the one that is away: %v", got)
			}
			away.serve(t)
			eventually(t, 10*time.Second, "the end", func() bool { return finished(c.status("found")) })
			if got := p.order("found"); !slices.Equal(got, []string{phase + "04", phase + "02", phase + "01"}) {
				t.Errorf("called in the order %v", got)
			}
		})
	}
}

// TestFailedCallIsKept: how often the call of a branch has failed and why is in the log, those that have succeeded are not called again, and the
// next attempt is due after 1, 2, 4 … seconds. The first branch waits.
func TestFailedCallIsKept(t *testing.T) {
	t.Parallel()
	for _, phase := range []string{"Confirm", "Cancel"} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			c, p, away, s, req := prepareOneAway(t, "four", 8)
			decided := time.Now()
			decide(t, c, req, phase)
			op := strings.ToLower(phase)
			tries := func() int {
				return s.number(t, "SELECT tries FROM trans_branch_op WHERE branch_id = '03' AND op = ?", op)
			}
			eventually(t, 15*time.Second, "three attempts", func() bool { return tries() >= 3 })
			if took := time.Since(decided); took > 8*time.Second {
				t.Errorf("three attempts took %v", took)
			}
			if n := s.number(t, "SELECT COUNT(*) FROM trans_branch_op WHERE branch_id = '03' AND op = ? AND last_error LIKE '%connection refused%'",
				op); n != 1 {
				t.Error("the log does not say why the call failed")
			}
			for id, want := range map[string]int{"01": 0, "02": 1, "04": 1} {
				if got := p.got(phase+id, "four"); got != want {
					t.Errorf("branch %s was called %d times, not %d", id, got, want)
				}
			}
			away.serve(t)
			eventually(t, 10*time.Second, "the end", func() bool { return finished(c.status("four")) })
			for id, want := range map[string]int{"01": 1, "02": 1, "04": 1} {
				if got := p.got(phase+id, "four"); got != want {
					t.Errorf("branch %s was called %d times, not %d", id, got, want)
				}
			}
		})
	}
}

// decide makes the coordinator call phase of every branch.
func decide(t *testing.T, c *coordinator, req *dtmgpb.DtmRequest, phase string) {
	t.Helper()
	var err error
	if phase == "Confirm" {
		_, err = c.Submit(t.Context(), req)
	} else {
		_, err = c.Abort(t.Context(), req)
	}
	if err != nil {
		t.Fatal(fmt.Errorf("decide for %s: %w", phase, err))
	}
}

func finished(status string) bool { return status == "succeed" || status == "failed" }
