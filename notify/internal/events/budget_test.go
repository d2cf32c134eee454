package events_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/notify/internal/notification"
)

func welcomed(t *testing.T, phone string) mq.Event {
	t.Helper()
	data, err := mq.Data(&eventv1.MemberRegistered{MemberId: phone, Phone: phone, Email: "ann@example.com", Name: "Ann"})
	require.NoError(t, err)
	return mq.Event{ID: mq.NewID(), Source: "/member", Type: eventv1.TypeMemberRegistered, Subject: phone, Data: data}
}

// TestBudget tests that of any number of sign-ups at once exactly as many send an SMS as the day's budget allows, in all and by country, and that
// another day has a budget of its own.
func TestBudget(t *testing.T) {
	t.Parallel()
	s := newStage(t, notification.Budget{PerDay: 10, PerCountry: 3, Home: "86"})
	sms := func(prefix string, n int) {
		t.Helper()
		var group sync.WaitGroup
		for i := range n {
			group.Go(func() {
				assert.NoError(t, s.take(t, "notify-sms", welcomed(t, fmt.Sprintf("+%s20000%05d", prefix, i))))
			})
		}
		group.Wait()
	}
	states := func() string {
		return mysqltest.Dump(t, s.db, "SELECT CONCAT(LEFT(recipient, 3), ' ', state, ' ', COUNT(*)) FROM notification GROUP BY LEFT(recipient, 3), state ORDER BY 1")
	}
	sms("44", 8)
	assert.Equal(t, "+44 DROPPED 5\n+44 PENDING 3\n--\n", states())
	sms("86", 12)
	assert.Equal(t, "+44 DROPPED 5\n+44 PENDING 3\n+86 DROPPED 5\n+86 PENDING 7\n--\n", states(), "home has the rest")
	assert.Equal(t, " 10 5\n44 3 5\n86 7 0\n--\n", mysqltest.Dump(t, s.db, "SELECT country, spent, dropped FROM sms_spent ORDER BY country"))
	require.NoError(t, s.take(t, "notify-email", welcomed(t, "+8613800138000")), "mail is free")

	_, err := s.db.ExecContext(t.Context(), "UPDATE sms_spent SET day = day - INTERVAL 1 DAY")
	require.NoError(t, err)
	sms("33", 1)
	assert.Contains(t, states(), "+33 PENDING 1\n")
}

// TestNoBudget tests that nothing is counted where SMS cost nothing, and that 0 is no limit.
func TestNoBudget(t *testing.T) {
	t.Parallel()
	free, unlimited := newStage(t), newStage(t, notification.Budget{})
	for range 3 {
		require.NoError(t, free.take(t, "notify-sms", welcomed(t, "+447000000001")))
		require.NoError(t, unlimited.take(t, "notify-sms", welcomed(t, "+447000000001")))
	}
	assert.Equal(t, "--\n", mysqltest.Dump(t, free.db, "SELECT country, spent FROM sms_spent"))
	assert.Equal(t, "3\n--\n", mysqltest.Dump(t, unlimited.db, "SELECT COUNT(*) FROM notification WHERE state = 'PENDING'"))
}

// TestSignUpRefused tests that the owner is told by mail that somebody tried to sign up, and only by mail.
func TestSignUpRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	data, err := mq.Data(&eventv1.SignUpRefused{MemberId: "m1", Email: "ann@example.com", Name: "Ann"})
	require.NoError(t, err)
	e := mq.Event{ID: mq.NewID(), Source: "/member", Type: eventv1.TypeSignUpRefused, Subject: "m1", Data: data}
	for range 2 {
		require.NoError(t, s.take(t, "notify-email", e))
	}
	assert.Equal(t, "EMAIL ann@example.com PENDING\n--\n", mysqltest.Dump(t, s.db, "SELECT channel, recipient, state FROM notification"))
	assert.Contains(t, s.consumers["notify-email"].Types, eventv1.TypeSignUpRefused)
	assert.NotContains(t, s.consumers["notify-sms"].Types, eventv1.TypeSignUpRefused)
}
