package main

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dtm-labs/dtm/client/dtmgrpc/dtmgpb"
)

// TestSavedTogether: transactions that are prepared while another one is being saved share a commit, and each has its branches; so do those that
// come together with one that was prepared before, and with themselves.
func TestSavedTogether(t *testing.T) {
	t.Parallel()
	env := emptyDatabase(t, mariadb)
	c, p, s := start(t, env...), newParticipant(t), newSession(t, env)
	p.serve(t)
	for _, part := range []string{"alone", "again", "twice"} {
		if part == "again" {
			openFour(t, c, p, "again-0", 600)
		}
		s.exec(t, "LOCK TABLES trans_global WRITE")
		const n = 40
		var opened sync.WaitGroup
		reqs := make([]*dtmgpb.DtmRequest, n)
		for i := range n {
			opened.Go(func() { reqs[i] = openFour(t, c, p, fmt.Sprint(part, "-", i), 600) })
			if part == "twice" {
				opened.Go(func() { openFour(t, c, p, fmt.Sprint(part, "-", i), 600) })
			}
		}
		eventually(t, 10*time.Second, "several are saved by one statement", func() bool {
			return s.number(t, "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND info LIKE ?",
				strings.ReplaceAll("INSERT INTO trans_global %P-%P-%P-%P-%", "P", part)) > 0
		})
		s.exec(t, "UNLOCK TABLES")
		opened.Wait()
		if got := s.number(t, "SELECT COUNT(*) FROM trans_branch_op WHERE gid LIKE ?", part+"-%"); got != n*2*len(branches) {
			t.Errorf("%s: %d rows of branches", part, got)
		}
		for _, req := range reqs {
			submit(t, c, req)
			confirmed(t, c, p, req.Gid, true)
		}
	}
}

// TestLockedNeighbor: a transaction whose row somebody has locked delays those that are decided with it for seconds, and no new one.
func TestLockedNeighbor(t *testing.T) {
	t.Parallel()
	env := emptyDatabase(t, mariadb)
	c, p, s := start(t, env...), newParticipant(t), newSession(t, env)
	p.serve(t)
	const n = 30
	reqs := make([]*dtmgpb.DtmRequest, n)
	for i := range reqs {
		reqs[i] = openFour(t, c, p, fmt.Sprintf("n-%02d", i), 600)
	}
	s.exec(t, "BEGIN")
	s.exec(t, "SELECT id FROM trans_global WHERE gid = 'n-20' FOR UPDATE")
	var decided sync.WaitGroup
	locked := make(chan error, 1)
	go func() { _, err := c.Submit(within(t, 30*time.Second), reqs[20]); locked <- err }()
	for i, req := range reqs {
		if i != 20 {
			decided.Go(func() { submit(t, c, req) })
		}
	}
	openFour(t, c, p, "new", 600)
	decided.Wait()
	if err := <-locked; err == nil || !strings.Contains(err.Error(), "Lock wait timeout") {
		t.Errorf("the row is still locked: %v", err)
	}
	s.exec(t, "COMMIT")
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
				calls.Go(func() { refused[i] = patiently(within(t, 20*time.Second), one.Submit, req) })
				calls.Go(func() { _ = patiently(within(t, 20*time.Second), other.Abort, req) })
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
