package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventv1 "example.com/fourfold/api/event/v1"
	memberv1 "example.com/fourfold/api/member/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/service/servicetest"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
)

// TestSignUpIsPublished tests that there is an event for each member and none for a refused sign-up. While the broker is gone or hangs, sign-ups
// succeed, and their events come when it is back.
func TestSignUpIsPublished(t *testing.T) {
	t.Parallel()
	server, err := rocketmqtest.Start()
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	server.Create(t, eventv1.TopicMembers)

	cfg := testConfig(t)
	cfg.MQ.NameServers = server.NameServer
	cfg.MQ.Queues.Addr = "127.0.0.1:1"
	cfg.MQ.Keys = mqtest.Keys()
	servicetest.Serve(t, func(ctx context.Context) error { return serve(ctx, cfg) })
	members := dial(t, cfg.GRPC.Addr)
	db, err := database.Open(cfg.MySQL)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	states := func() string {
		return mysqltest.Dump(t, db, "SELECT state, COUNT(*) FROM mq_outbox GROUP BY state ORDER BY state")
	}

	signUp := func(name string, n int) string {
		reply, err := members.SignUp(ctx, &memberv1.SignUpRequest{
			Phone: fmt.Sprintf("+861380013800%d", n), Email: name + "@example.com", Name: name, Password: "correct horse"})
		require.NoError(t, err)
		return reply.GetMemberId()
	}
	first := signUp("ann", 0)
	assert.Equal(t, "HALF 1\n--\n", states(), "by a transactional message")
	_, err = members.SignUp(ctx,
		&memberv1.SignUpRequest{Phone: "+8613800138001", Email: "ann@example.com", Name: "x", Password: "correct horse"})
	require.NoError(t, err)
	assert.Equal(t, "HALF 2\n--\n", states(), "the owner is told")

	server.Kill()
	second := signUp("bob", 2)
	assert.Equal(t, "HALF 2\nREADY 1\n--\n", states())
	require.NoError(t, server.Restart())
	third := signUp("carl", 3)
	require.NoError(t, server.Freeze())
	fourth := signUp("dora", 4)
	require.NoError(t, server.Thaw())
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Equal(c, "0\n--\n", mysqltest.Dump(t, db, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'READY'"))
	}, 2*time.Minute, 100*time.Millisecond, "the relay sends it")

	reader := server.Broker(t, "reader")
	var got []*eventv1.MemberRegistered
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		got = got[:0]
		events, err := mqtest.Events(ctx, reader, eventv1.TopicMembers, time.Time{})
		assert.NoError(c, err)
		for _, e := range events {
			var m eventv1.MemberRegistered
			if e.Type == eventv1.TypeSignUpRefused {
				continue
			}
			assert.Equal(c, eventv1.TypeMemberRegistered+" /member", e.Type+" "+e.Source)
			assert.NoError(c, e.Read(&m))
			assert.Equal(c, m.GetMemberId(), e.Subject)
			got = append(got, &m)
		}
		assert.GreaterOrEqual(c, len(got), 4)
	}, 2*time.Minute, 200*time.Millisecond)
	told := map[string]string{}
	for _, m := range got {
		told[m.GetMemberId()] = fmt.Sprint(m.GetName(), " ", m.GetEmail(), " ", m.GetPhone())
	}
	assert.Equal(t, map[string]string{
		first: "ann ann@example.com +8613800138000", second: "bob bob@example.com +8613800138002", third: "carl carl@example.com +8613800138003",
		fourth: "dora dora@example.com +8613800138004",
	}, told)
}
