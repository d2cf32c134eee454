package main

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtm-labs/dtm/client/dtmgrpc/dtmgpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// branches are the ids of the branches of a transaction that openFour opens.
var branches = []string{"01", "02", "03", "04"}

// openFour opens a transaction of four branches, whose phases are p's methods Confirm01, Cancel01 and so on.
func openFour(t *testing.T, c *coordinator, p *participant, gid string, timeoutToFail int64) *dtmgpb.DtmRequest {
	t.Helper()
	var four []branch
	for _, id := range branches {
		four = append(four, p.branch(id))
	}
	req := request(gid, timeoutToFail, four...)
	if _, err := c.Prepare(within(t, 10*time.Second), req); err != nil {
		t.Fatal(err)
	}
	return req
}

// submitting submits req at c in the background and returns a channel with the result.
func submitting(t *testing.T, c *coordinator, req *dtmgpb.DtmRequest) <-chan error {
	t.Helper()
	ctx, answered := within(t, 15*time.Second), make(chan error, 1)
	go func() { answered <- patiently(ctx, c.Submit, req) }()
	return answered
}

// patiently makes a call, and again when a row was locked for longer than the coordinator waits: on a busy machine a test may hold it so long.
func patiently(ctx context.Context, call func(context.Context, *dtmgpb.DtmRequest, ...grpc.CallOption) (*emptypb.Empty, error),
	req *dtmgpb.DtmRequest) error {
	for {
		if _, err := call(ctx, req); err == nil || !strings.Contains(err.Error(), "Lock wait timeout") {
			return err
		}
	}
}

// confirmed waits until gid has the status succeed, and requires that no Confirm was lost, and with once that none was repeated.
func confirmed(t *testing.T, c *coordinator, p *participant, gid string, once bool) {
	t.Helper()
	eventually(t, 10*time.Second, gid+" succeeds", func() bool { return c.status(gid) == "succeed" })
	for _, id := range branches {
		if n := p.got("Confirm"+id, gid); n == 0 || once && n > 1 {
			t.Errorf("branch %s was confirmed %d times", id, n)
		}
		if p.got("Cancel"+id, gid) > 0 {
			t.Errorf("branch %s was canceled", id)
		}
	}
}

// TestSubmitIsRepeatable: however many Submits of one transaction there are, and however they interleave, all return OK and one of them
// confirms.
func TestSubmitIsRepeatable(t *testing.T) {
	t.Parallel()
	env := emptyDatabase(t, mariadb)
	one, two, p := start(t, env...), start(t, env...), newParticipant(t)
	p.serve(t)

	t.Run("twenty at once", func(t *testing.T) {
		t.Parallel()
		req := openFour(t, one, p, "twenty", 8)
		var calls sync.WaitGroup
		for i := range 20 {
			calls.Go(func() {
				if _, err := []*coordinator{one, two}[i%2].Submit(t.Context(), req); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		confirmed(t, one, p, "twenty", true)
	})

	t.Run("both before the write", func(t *testing.T) {
		t.Parallel()
		req, s := openFour(t, one, p, "before", 8), newSession(t, env)
		s.exec(t, "BEGIN")
		s.exec(t, "SELECT id FROM trans_global WHERE gid = 'before' FOR UPDATE")
		first, second := submitting(t, one, req), submitting(t, two, req)
		s.awaits(t, 2, "UPDATE trans_global%before%")
		s.exec(t, "COMMIT")
		for _, answered := range []<-chan error{first, second} {
			if err := <-answered; err != nil {
				t.Error(err)
			}
		}
		confirmed(t, one, p, "before", true)
	})

	t.Run("after the end", func(t *testing.T) {
		t.Parallel()
		req := openFour(t, one, p, "end", 8)
		submit(t, one, req)
		confirmed(t, one, p, "end", true)
		for _, c := range []*coordinator{one, two} {
			submit(t, c, req)
		}
		confirmed(t, one, p, "end", true)
	})
}

// TestSubmitBetweenWriteAndConfirms: the first Submit has made the transaction submitted, and is held before it reads the branches. The second
// answers, and leaves the branches to the first.
func TestSubmitBetweenWriteAndConfirms(t *testing.T) {
	t.Parallel()
	env := emptyDatabase(t, mariadb)
	one, two, p := start(t, env...), start(t, env...), newParticipant(t)
	p.serve(t)
	req, s := openFour(t, one, p, "between", 8), newSession(t, env)
	s.exec(t, "LOCK TABLES trans_branch_op WRITE")
	first := submitting(t, two, req) // the one that has prepared it does not read them
	s.awaits(t, 1, "SELECT%trans_branch_op%")
	for _, c := range []*coordinator{one, two} {
		if _, err := c.Submit(within(t, 5*time.Second), req); err != nil {
			t.Error(err)
		}
	}
	if got := stored(t, env, "between"); got != "submitted" {
		t.Errorf("before any Confirm it reads %s", got)
	}
	s.exec(t, "UNLOCK TABLES")
	if err := <-first; err != nil {
		t.Error(err)
	}
	confirmed(t, one, p, "between", true)
}

// TestSubmitOutlivesItsProcess: the process of the first Submit dies, before or after its write is committed. A repeated Submit is answered by
// another instance or by the next start, and recovery confirms.
func TestSubmitOutlivesItsProcess(t *testing.T) {
	t.Parallel()
	for _, dies := range []string{"before", "after"} {
		for _, next := range []string{"other instance", "next start"} {
			t.Run(dies+" the write, "+next, func(t *testing.T) {
				t.Parallel()
				env := append(emptyDatabase(t, mariadb), "RETRY_INTERVAL_MAX=1")
				opener, first, p := start(t, env...), start(t, env...), newParticipant(t)
				second := first
				if next == "other instance" {
					second = start(t, env...)
				}
				p.serve(t)
				req, s := openFour(t, opener, p, "dies", 8), newSession(t, env)
				opener.kill() // the others read the branches
				if dies == "before" {
					s.exec(t, "BEGIN")
					s.exec(t, "SELECT id FROM trans_global WHERE gid = 'dies' FOR UPDATE")
				} else {
					s.exec(t, "LOCK TABLES trans_branch_op WRITE")
				}
				lost := submitting(t, first, req)
				if dies == "before" {
					s.awaits(t, 1, "UPDATE trans_global%dies%")
				} else {
					s.awaits(t, 1, "SELECT%trans_branch_op%")
				}
				first.kill()
				if err := <-lost; err == nil {
					t.Error("a dead process answered")
				}
				if dies == "before" {
					s.exec(t, "COMMIT")
				} else {
					s.exec(t, "UNLOCK TABLES")
				}
				if second == first {
					first.run(t)
					eventually(t, 20*time.Second, "ready again", first.ready)
				}
				submit(t, second, req)
				confirmed(t, second, p, "dies", false)
			})
		}
	}
}

// TestSubmitRefused: a transaction that cannot be submitted is refused for good, and none is created.
func TestSubmitRefused(t *testing.T) {
	t.Parallel()
	c, p := start(t, append(emptyDatabase(t, mariadb), "RETRY_INTERVAL_MAX=1")...), newParticipant(t)
	refused := func(req *dtmgpb.DtmRequest) {
		t.Helper()
		if _, err := c.Submit(t.Context(), req); status.Code(err) != codes.Aborted {
			t.Errorf("Submit: %v", err)
		}
	}
	refused(request("unknown", 8))
	if got := c.status("unknown"); got != "unknown" {
		t.Errorf("a Submit made a transaction: %s", got)
	}
	req := openFour(t, c, p, "aborted", 8)
	if _, err := c.Abort(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	refused(req) // it is aborting: the participant is away
	p.serve(t)
	eventually(t, 10*time.Second, "the Cancels", func() bool { return c.status("aborted") == "failed" })
	refused(req)
	for _, id := range branches {
		if p.got("Confirm"+id, "aborted") > 0 {
			t.Errorf("branch %s was confirmed", id)
		}
	}
}
