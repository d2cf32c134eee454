package main

import (
	"bytes"
	"context"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	accessv1 "example.com/fourfold/api/access/v1"
	creditv1 "example.com/fourfold/api/credit/v1"
	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/service/servicetest"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/credit/migrations"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
)

func TestMain(m *testing.M) { rocketmqtest.Main(m) }

func TestSeedCountsOnce(t *testing.T) {
	t.Parallel()
	cfg := mysqltest.Config(t)
	for i, want := range []string{
		"seed:demo: 1190 points added to member demo\n",
		"seed:demo was booked before (1190 points, member demo): nothing changed\n",
	} {
		var out bytes.Buffer
		require.NoError(t, seed(t.Context(), cfg, []string{"-member", "demo", "-points", "1190", "-source", "seed:demo"}, &out))
		assert.Equal(t, want, out.String(), "time %d", i+1)
	}
	var out bytes.Buffer
	require.NoError(t, seed(t.Context(), cfg, []string{"-member", "other", "-points", "5", "-source", "seed:demo"}, &out))
	assert.Equal(t, "seed:demo was booked before (1190 points, member demo): nothing changed\n", out.String())

	db, err := database.Open(cfg)
	require.NoError(t, err)
	defer func() { _ = db.Close() }()
	assert.Equal(t, "demo 1190 0 0 0\n--\nseed:demo demo  1190 ADDED\n--\n", mysqltest.Dump(t, db,
		"SELECT * FROM credit_account", "SELECT source, member_id, gid, points, status FROM credit_entry"))
}

func TestSeedRejectsBadInput(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		nil,
		{"-member", "demo", "-source", "seed:demo"},
		{"-member", "demo", "-points", "-1", "-source", "seed:demo"},
		{"-member", "demo", "-points", "5"},
		{"-points", "5", "-source", "seed:demo"},
		{"-member", "demo", "-points", "5", "-source", "seed:demo", "more"},
		{"-points", "many"},
	} {
		var out bytes.Buffer
		require.ErrorContains(t, seed(t.Context(), database.Config{}, args, &out), "usage: credit seed", "%v", args)
		assert.Empty(t, out.String())
	}
}

// TestServes runs the service on ports of its own and talks to it as the gateway and order do.
func TestServes(t *testing.T) {
	t.Parallel()
	dir, signer := servicetest.Keys(t)
	cfg := config{BranchKeys: "k1:00112233445566778899aabbccddeeff", MySQL: mysqltest.Config(t)}
	cfg.GRPC.Addr, cfg.Admin.Addr, cfg.Log.Level, cfg.IdentityKeys = servicetest.FreeAddr(t), "127.0.0.1:0", "error", dir
	cfg.GRPC.Timeout = 10 * time.Second
	cfg.MQ.NameServers = "127.0.0.1:1" // no broker listens there
	cfg.MQ.Queues.Addr = "127.0.0.1:1"
	cfg.MQ.Keys = mqtest.Keys()
	servicetest.Serve(t, func(ctx context.Context) error { return serve(ctx, cfg) })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	conn := servicetest.Dial(t, cfg.GRPC.Addr)
	credits, branch := creditv1.NewCreditsClient(conn), creditv1.NewCreditGrantClient(conn)

	as := func(role identity.Role) context.Context {
		token, err := signer.Sign(identity.Caller{MemberID: "m-1", Role: role}, time.Now(), time.Minute)
		require.NoError(t, err)
		return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	_, err := credits.GetMyCredit(ctx, &creditv1.GetMyCreditRequest{})
	assert.Equal(t, 401, kerrors.Code(err), "%v", err)
	_, err = credits.SetFrozen(as(accessv1.Shopper), &creditv1.SetFrozenRequest{Id: "m-1", Frozen: new(true)})
	assert.Equal(t, 403, kerrors.Code(err), "%v", err)
	_, err = credits.ListMyEntries(as(accessv1.Shopper), &creditv1.ListMyEntriesRequest{PageToken: "x"})
	assert.Equal(t, codes.InvalidArgument, status.Code(err))
	assert.ErrorContains(t, err, "page_token")
	_, err = credits.SetFrozen(as(accessv1.Operator), &creditv1.SetFrozenRequest{Id: "m-1"})
	assert.Equal(t, codes.InvalidArgument, status.Code(err), "who says nothing must not thaw it")
	assert.ErrorContains(t, err, "frozen: ")
	account, err := credits.SetFrozen(as(accessv1.Operator), &creditv1.SetFrozenRequest{Id: "m-1", Frozen: new(true)})
	require.NoError(t, err)
	assert.True(t, account.GetFrozen())

	branchKeys, err := mac.Parse(cfg.BranchKeys)
	require.NoError(t, err)
	phase := func(gid, op, service string, request proto.Message) context.Context {
		payload, err := proto.Marshal(request)
		require.NoError(t, err)
		call := tcc.Call{GID: gid, Branch: "03", Phase: tcc.Phase(op), Service: service, Subject: "order-1", Payload: payload}
		return metadata.NewOutgoingContext(ctx, metadata.New(call.Headers(branchKeys)))
	}
	request := &creditv1.CreditGrantRequest{OrderId: "order-1", MemberId: "m-1", Points: 10}
	try := func() error {
		_, err := branch.Try(phase("gid-1", "try", "credit.v1.CreditGrant", request), request)
		return err
	}
	err = try()
	assert.Equal(t, codes.Aborted, status.Code(err), "the coordinator's word for refused")
	assert.True(t, creditv1.IsCreditRefused(err), "%v", err)
	_, err = credits.SetFrozen(as(accessv1.Operator), &creditv1.SetFrozenRequest{Id: "m-1", Frozen: new(false)})
	require.NoError(t, err)
	require.NoError(t, try())
	account, err = credits.GetMyCredit(as(accessv1.Shopper), &creditv1.GetMyCreditRequest{})
	require.NoError(t, err)
	assert.Equal(t, []int64{0, 10}, []int64{account.GetCredit(), account.GetPrepareAddCredit()})

	refund, refundRequest := creditv1.NewCreditDeductionClient(conn), &creditv1.CreditDeductionRequest{OrderId: "order-1"}
	refundPhase := func(op string) context.Context { return phase("gid-2", op, "credit.v1.CreditDeduction", refundRequest) }
	_, err = refund.Try(refundPhase("try"), refundRequest)
	assert.Equal(t, codes.Aborted, status.Code(err), "the payment is open: %v", err)
	_, err = branch.Confirm(phase("gid-1", "confirm", "credit.v1.CreditGrant", request), request)
	require.NoError(t, err)
	_, err = refund.Try(refundPhase("try"), refundRequest)
	require.NoError(t, err)
	account, err = credits.GetMyCredit(as(accessv1.Shopper), &creditv1.GetMyCreditRequest{})
	require.NoError(t, err)
	assert.Equal(t, []int64{0, 0, 10}, []int64{account.GetCredit(), account.GetPrepareAddCredit(), account.GetPrepareDeductCredit()})
	_, err = refund.Confirm(refundPhase("confirm"), refundRequest)
	require.NoError(t, err)

	db, err := database.Open(cfg.MySQL)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	_, err = db.ExecContext(ctx, `INSERT INTO mq_inbox (grp, source, event_id, topic, type, subject, seq, state, event, last_error)
		VALUES ('credit-registration', '/member', 'dead', 'member-events', 'member.registered', 'm-2', 0, 'DEAD', '{}', 'for a reason')`)
	require.NoError(t, err)
	letters, err := mqv1.NewMessagesClient(conn).ListDeadLetters(as(accessv1.Operator), &mqv1.ListDeadLettersRequest{})
	require.NoError(t, err)
	assert.Len(t, letters.GetDeadLetters(), 1)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Equal(c, "credit/dead-letters/credit-registration\n--\n", mysqltest.Dump(t, db, "SELECT subject FROM mq_outbox"), "an alert")
	}, 20*time.Second, 50*time.Millisecond)
}

// TestDefaults tests that the built-in configuration fits the struct.
func TestDefaults(t *testing.T) {
	t.Parallel()
	var cfg config
	require.NoError(t, service.Load("", defaults, &cfg))
	assert.Positive(t, cfg.GRPC.Timeout)
	assert.NotEmpty(t, cfg.GRPC.Addr)
	assert.NotEmpty(t, cfg.Admin.Addr)
	assert.NotEmpty(t, cfg.MySQL.DSN)
	assert.Positive(t, cfg.MySQL.MaxConns)
	assert.NotEmpty(t, cfg.MQ.NameServers)
	assert.Equal(t, int64(100), cfg.RegistrationPoints)
}

// TestOldRowsAreDeleted tests that rows that are done with and old are deleted in the background, and that the rest stays.
func TestOldRowsAreDeleted(t *testing.T) {
	t.Parallel()
	var cfg config
	require.NoError(t, service.Load("", defaults, &cfg))
	cfg.BranchKeys, cfg.MySQL = "k1:00112233445566778899aabbccddeeff", mysqltest.Config(t)
	cfg.GRPC.Addr, cfg.Admin.Addr, cfg.Log.Level = "127.0.0.1:0", "127.0.0.1:0", "error"
	cfg.IdentityKeys, _ = servicetest.Keys(t)
	cfg.MQ.NameServers = "127.0.0.1:1"
	cfg.MQ.Queues.Addr = "127.0.0.1:1"
	cfg.MQ.Keys = mqtest.Keys()
	db, err := database.Open(cfg.MySQL)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	require.NoError(t, database.Migrate(t.Context(), db, migrations.FS))
	for _, stmt := range []string{
		`INSERT INTO barrier (trans_type, gid, branch_id, op, barrier_id, create_time) VALUES
		('tcc', 'old', '01', 'try', '01', TIMESTAMPADD(DAY, -31, NOW())), ('tcc', 'young', '01', 'try', '01', TIMESTAMPADD(DAY, -29, NOW()))`,
	} {
		_, err := db.ExecContext(t.Context(), stmt)
		require.NoError(t, err)
	}
	servicetest.Serve(t, func(ctx context.Context) error { return serve(ctx, cfg) })
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Equal(c, "young\n--\n", mysqltest.Dump(t, db, "SELECT gid FROM barrier"))
	}, 20*time.Second, 20*time.Millisecond)

	cfg.Keep.Barrier = time.Hour
	require.ErrorContains(t, serve(t.Context(), cfg), "longer than the longest retry")
	cfg.Keep.Barrier, cfg.Keep.Messages = 0, time.Hour
	require.ErrorContains(t, serve(t.Context(), cfg), "longer than the broker keeps")
	cfg.Keep.Messages, cfg.RegistrationPoints = 0, -1
	require.ErrorContains(t, serve(t.Context(), cfg), "registration_points is -1: from 0")
}
