package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestBranchAtTheDecision: a branch whose registration is under way while Submit or Abort decides, and is then answered OK, takes part.
func TestBranchAtTheDecision(t *testing.T) {
	t.Parallel()
	for _, decision := range []string{"Submit", "Abort"} {
		t.Run(decision, func(t *testing.T) {
			t.Parallel()
			env := emptyDatabase(t, mariadb)
			c, p, s := start(t, env...), newParticipant(t), newSession(t, env)
			p.serve(t)
			fourth := s.slowFourth(t, env)
			req := openFour(t, c, p, "late", 8, branches[:3]...)
			registered := fourth.register(t, c, p)
			fourth.waits(t)
			decided := make(chan error, 1)
			go func() {
				var err error
				if decision == "Submit" {
					_, err = c.Submit(within(t, 15*time.Second), req)
				} else {
					_, err = c.Abort(within(t, 15*time.Second), req)
				}
				decided <- err
			}()
			s.awaits(t, 1, "UPDATE `trans_global`%late%")
			fourth.goesOn(t)
			if err := <-decided; err != nil {
				t.Errorf("%s: %v", decision, err)
			}
			tookPart(t, c, p, registered, map[string]string{"Submit": "Confirm", "Abort": "Cancel"}[decision])
		})
	}
}

// TestBranchAtTheTimeOut: the same for the time-out, although recovery reads the branches before it writes its decision. For the initiator to
// register branches so late, it was suspended, or the clock of an instance is ahead.
func TestBranchAtTheTimeOut(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		timeoutToFail int64
		behind        int // seconds by which the clock of the instance that prepares is behind that of the one that times out
	}{
		"one clock":    {2, 0},
		"clocks apart": {8, 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := emptyDatabase(t, mariadb)
			// It takes nothing up after its start: by its own clock it would be too early.
			initiators, p, s := start(t, append(env, "TRANS_CRON_INTERVAL=600")...), newParticipant(t), newSession(t, env)
			p.serve(t)
			fourth := s.slowFourth(t, env)
			openFour(t, initiators, p, "late", tt.timeoutToFail, branches[:3]...)
			// The times in the log are all that one instance learns of the other's clock. They are changed when the three are there: the first look of
			// the one that has just started may come late.
			s.exec(t, fmt.Sprintf(`UPDATE trans_global SET create_time = create_time - INTERVAL %d SECOND,
				next_cron_time = next_cron_time - INTERVAL %[1]d SECOND`, tt.behind))
			s.exec(t, "LOCK TABLES trans_branch_op WRITE")
			launch(t, env...) // its clock is ahead
			s.awaits(t, 1, "SELECT%trans_branch_op%late%")
			registered := fourth.register(t, initiators, p)
			s.awaits(t, 1, "INSERT INTO%trans_branch_op%")
			s.exec(t, "UNLOCK TABLES")
			fourth.waits(t)
			s.awaits(t, 1, "UPDATE `trans_global`%aborting%late%") // it has read three branches
			fourth.goesOn(t)
			tookPart(t, initiators, p, registered, "Cancel")
		})
	}
}

// tookPart requires that the registration of the fourth branch was answered OK, that phase of each branch is called once and the other phase
// never, and that nothing can be added to the decision or change it.
func tookPart(t *testing.T, c *coordinator, p *participant, registered <-chan error, phase string) {
	t.Helper()
	if err := <-registered; err != nil {
		t.Errorf("RegisterBranch: %v", err)
	}
	end, other := "succeed", "Cancel"
	if phase == "Cancel" {
		end, other = "failed", "Confirm"
	}
	eventually(t, 10*time.Second, "the end", func() bool { return c.status("late") == end })
	for _, id := range branches {
		if n, m := p.got(phase+id, "late"), p.got(other+id, "late"); n != 1 || m != 0 {
			t.Errorf("branch %s: %d × %s, %d × %s", id, n, phase, m, other)
		}
	}
	if _, err := c.RegisterBranch(t.Context(), p.branch("late", "05")); status.Code(err) != codes.Aborted {
		t.Errorf("RegisterBranch after the decision: %v", err)
	}
	if _, err := c.Submit(t.Context(), request("late", 8)); (end == "succeed") != (err == nil) {
		t.Errorf("Submit after the decision: %v", err)
	}
}

// slowFourth is the registration of the fourth branch of the transaction late, which waits, with the transaction's row locked, before it writes.
type slowFourth struct {
	session
	lock string
}

func (s session) slowFourth(t *testing.T, env []string) slowFourth {
	t.Helper()
	f := slowFourth{newSession(t, env), strings.TrimPrefix(env[1], "STORE_DB=") + ":fourth"}
	s.exec(t, fmt.Sprintf(`CREATE TRIGGER slow BEFORE INSERT ON trans_branch_op FOR EACH ROW IF NEW.branch_id = '04' THEN
		DO GET_LOCK('%s', 30); DO RELEASE_LOCK('%[1]s'); END IF`, f.lock))
	if f.number(t, "SELECT GET_LOCK(?, 0)", f.lock) != 1 {
		t.Fatal("the lock is taken")
	}
	return f
}

func (slowFourth) register(t *testing.T, c *coordinator, p *participant) <-chan error {
	t.Helper()
	ctx, answered := within(t, 30*time.Second), make(chan error, 1)
	go func() {
		_, err := c.RegisterBranch(ctx, p.branch("late", "04"))
		answered <- err
	}()
	return answered
}

func (f slowFourth) waits(t *testing.T) {
	t.Helper()
	eventually(t, 10*time.Second, "the fourth waits", func() bool {
		return f.number(t, "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND state = 'User lock'") == 1
	})
}

func (f slowFourth) goesOn(t *testing.T) {
	t.Helper()
	f.number(t, "SELECT RELEASE_LOCK(?)", f.lock)
}
