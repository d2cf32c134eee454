package main

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/dtm-labs/dtm/client/dtmgrpc/dtmgpb"
)

// TestSavedTogether: transactions that are prepared at the same time share commits, also with one that was prepared before, and each has its
// branches.
func TestSavedTogether(t *testing.T) {
	t.Parallel()
	env := emptyDatabase(t, mariadb)
	c, p, s := start(t, env...), newParticipant(t), newSession(t, env)
	p.serve(t)
	openFour(t, c, p, "old", 600)
	s.exec(t, "LOCK TABLES trans_global WRITE")
	const n = 40
	var opened sync.WaitGroup
	reqs := make([]*dtmgpb.DtmRequest, n)
	for i := range n {
		opened.Go(func() { reqs[i] = openFour(t, c, p, fmt.Sprint("new-", i), 600) })
		opened.Go(func() { openFour(t, c, p, "old", 600) })
	}
	eventually(t, 10*time.Second, "two batches wait: the first one's, and that of those who came until it was late", func() bool {
		return s.number(t, "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND info LIKE 'INSERT INTO trans_global%'") >= 2
	})
	s.exec(t, "UNLOCK TABLES")
	opened.Wait()
	if got := s.number(t, "SELECT COUNT(*) FROM trans_branch_op WHERE gid <> 'old'"); got != n*2*len(branches) {
		t.Errorf("%d rows of branches", got)
	}
	if got := s.number(t, "SELECT COUNT(DISTINCT create_time) FROM trans_global"); got > n/2 {
		t.Errorf("they were saved in %d commits", got)
	}
	for _, req := range reqs {
		submit(t, c, req)
		confirmed(t, c, p, req.Gid, true)
	}
}

// TestOneDecisionWins: of a Submit and an Abort of one transaction that come at the same time, to one instance or to two, one wins, and all
// branches do what it says.
func TestOneDecisionWins(t *testing.T) {
	t.Parallel()
	env := emptyDatabase(t, mariadb)
	one, two, p := start(t, env...), start(t, env...), newParticipant(t)
	p.serve(t)
	for name, other := range map[string]*coordinator{"one instance": one, "two instances": two} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const n = 20
			reqs := make([]*dtmgpb.DtmRequest, n)
			for i := range reqs {
				reqs[i] = openFour(t, one, p, fmt.Sprint(name, "-", i), 600)
			}
			s := newSession(t, env)
			s.exec(t, "BEGIN")
			s.exec(t, "SELECT id FROM trans_global WHERE gid LIKE ? FOR UPDATE", name+"-%")
			refused := make([]error, n)
			var calls sync.WaitGroup
			for i, req := range reqs {
				calls.Go(func() { _, refused[i] = one.Submit(within(t, 20*time.Second), req) })
				calls.Go(func() { _, _ = other.Abort(within(t, 20*time.Second), req) })
			}
			eventually(t, 10*time.Second, "two batches wait for their rows", func() bool {
				return s.number(t, "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND info LIKE 'UPDATE trans_global%'"+
					" AND info LIKE ? AND id <> CONNECTION_ID()", "%"+name+"%") >= 2
			})
			s.exec(t, "COMMIT")
			calls.Wait()
			for i, req := range reqs {
				op, not := "Confirm", "Cancel"
				if refused[i] != nil {
					op, not = not, op
				}
				eventually(t, 20*time.Second, "the end of "+req.Gid, func() bool {
					status := one.status(req.Gid)
					return status == "succeed" || status == "failed"
				})
				for _, id := range branches {
					if p.got(op+id, req.Gid) == 0 || p.got(not+id, req.Gid) > 0 {
						t.Errorf("Submit of %s was answered %v; branch %s: %v", req.Gid, refused[i], id, p.order(req.Gid))
					}
				}
			}
		})
	}
}
