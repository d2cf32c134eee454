package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	accessv1 "example.com/fourfold/api/access/v1"
	alertv1 "example.com/fourfold/api/alert/v1"
	eventv1 "example.com/fourfold/api/event/v1"
	mqv1 "example.com/fourfold/api/mq/v1"
	notifyv1 "example.com/fourfold/api/notify/v1"
	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/mq/redis"
	"example.com/fourfold/chassis/mq/rocketmq/remoting"
	"example.com/fourfold/chassis/mq/rocketmq/remoting/remotingtest"
	"example.com/fourfold/chassis/redistest"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/service/servicetest"
	"example.com/fourfold/chassis/tied"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
	"example.com/fourfold/notify/internal/sender"
	"example.com/fourfold/notify/internal/smtp"
	"example.com/fourfold/notify/migrations"
)

// TestMain also runs the command itself, for the test that kills it.
func TestMain(m *testing.M) {
	if os.Getenv("NOTIFY_TEST_COMMAND") != "" {
		main()
		return
	}
	rocketmqtest.Main(m)
}

// testConfig returns the built-in configuration with addresses, keys and a database of the test's own.
func testConfig(t *testing.T) (config, *identity.Signer) {
	t.Helper()
	var cfg config
	require.NoError(t, service.Load("", defaults, &cfg))
	dir, signer := servicetest.Keys(t)
	cfg.GRPC.Addr, cfg.Admin.Addr, cfg.Log.Level, cfg.IdentityKeys = servicetest.FreeAddr(t), servicetest.FreeAddr(t), "error", dir
	cfg.MySQL = mysqltest.Config(t)
	cfg.MQ.NameServers = "127.0.0.1:1" // no broker listens there
	cfg.MQ.Queues.Addr = "127.0.0.1:1"
	cfg.MQ.Keys = mqtest.Keys()
	return cfg, signer
}

// serving runs the service until the test ends.
func serving(t *testing.T, cfg config) (notifyv1.NotificationsClient, mqv1.MessagesClient) {
	t.Helper()
	servicetest.Serve(t, func(ctx context.Context) error { return serve(ctx, cfg) })
	conn := servicetest.Dial(t, cfg.GRPC.Addr)
	return notifyv1.NewNotificationsClient(conn), mqv1.NewMessagesClient(conn)
}

func as(t *testing.T, ctx context.Context, signer *identity.Signer, role identity.Role) context.Context {
	t.Helper()
	token, err := signer.Sign(identity.Caller{MemberID: "m-1", Role: role}, time.Now(), 10*time.Minute)
	require.NoError(t, err)
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// TestServes tests that the lists are for operators, and need no broker.
func TestServes(t *testing.T) {
	t.Parallel()
	cfg, signer := testConfig(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	notifications, _ := serving(t, cfg)
	for role, code := range map[identity.Role]int{"": 401, accessv1.Shopper: 403, accessv1.Operator: 200} {
		call := ctx
		if role != "" {
			call = as(t, ctx, signer, role)
		}
		_, err := notifications.ListNotifications(call, &notifyv1.ListNotificationsRequest{})
		assert.Equal(t, code, kerrors.Code(err), "%q: %v", role, err)
		_, err = notifications.ListInbox(call, &notifyv1.ListInboxRequest{})
		assert.Equal(t, code, kerrors.Code(err), "%q: %v", role, err)
	}
	_, err := notifications.ListInbox(as(t, ctx, signer, accessv1.Operator), &notifyv1.ListInboxRequest{PageSize: 101})
	assert.Equal(t, 400, kerrors.Code(err), "%v", err)
	reply, err := http.Get("http://" + cfg.Admin.Addr + "/readyz")
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, reply.StatusCode)
	_ = reply.Body.Close()
}

// TestFromEventToInbox tests that events that others publish, each twice, arrive once, and that operators are told of a dead letter.
func TestFromEventToInbox(t *testing.T) {
	t.Parallel()
	server := rocketmqtest.Shared(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for _, topic := range []string{eventv1.TopicMembers, eventv1.TopicOrders, alertv1.Topic} {
		server.Create(t, topic)
	}
	cfg, signer := testConfig(t)
	cfg.MQ.NameServers = server.NameServer
	cfg.MQ.Queues.Addr = "127.0.0.1:1"
	cfg.MQ.Keys = mqtest.Keys()
	_, err := migrated(t, cfg).ExecContext(ctx,
		`INSERT INTO mq_inbox (grp, source, event_id, topic, type, subject, seq, state, event, last_error)
		VALUES ('notify-sms', '/member', 'dead', 'member-events', 'member.registered', 'bob', 0, 'DEAD', '{}', 'for a reason')`)
	require.NoError(t, err)
	notifications, letters := serving(t, cfg)
	broker := server.Dial(t)
	publish := func(topic, source, typ, subject string, sequence int64, m proto.Message) {
		t.Helper()
		data, err := mq.Data(m)
		require.NoError(t, err)
		for range 2 {
			require.NoError(t,
				broker.Publish(ctx, topic, mq.Event{ID: "e-" + typ, Source: source, Type: typ, Subject: subject, Sequence: sequence,
					Time: time.Now(), Data: data}))
		}
	}
	publish(eventv1.TopicOrders, "/order", "order.paid", "o-1", 1, &eventv1.OrderChanged{OrderId: "o-1", MemberId: "ann", TotalCents: 1000})
	publish(alertv1.Topic, "/order", alertv1.TypeRaised, "order/k", 0, &alertv1.Raised{Service: "order", Key: "k"})
	publish(eventv1.TopicMembers, "/member", eventv1.TypeMemberRegistered, "ann", 0,
		&eventv1.MemberRegistered{MemberId: "ann", Phone: "+8613800138000", Email: "ann@example.com", Name: "Ann"})
	operator := as(t, ctx, signer, accessv1.Operator)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		reply, err := notifications.ListInbox(operator, &notifyv1.ListInboxRequest{})
		assert.NoError(c, err)
		var got []string
		for _, m := range reply.GetMessages() {
			if strings.HasSuffix(m.GetSubject(), " broker-disk") || strings.HasSuffix(m.GetSubject(), " mq-queues-redis") {
				continue // this machine's disk is tight, or the test takes longer than a minute: there is no Redis
			}
			got = append(got, fmt.Sprint(m.GetChannel(), " ", m.GetTo(), " ", m.GetSubject()))
		}
		slices.Sort(got)
		assert.Equal(c, []string{"EMAIL ann@example.com 欢迎加入 Fourfold / Welcome to Fourfold", "EMAIL ann@example.com 订单已支付 / Order paid: o-1",
			"EMAIL operator@example.com [Fourfold] notify dead-letters/notify-sms", "EMAIL operator@example.com [Fourfold] order k",
			"SMS +8613800138000 "}, got)
	}, 3*time.Minute, 100*time.Millisecond)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		sent, err := notifications.ListNotifications(operator, &notifyv1.ListNotificationsRequest{State: notifyv1.Notification_SENT})
		assert.NoError(c, err)
		assert.GreaterOrEqual(c, len(sent.GetNotifications()), 5)
	}, 20*time.Second, 50*time.Millisecond)
	dead, err := letters.ListDeadLetters(operator, &mqv1.ListDeadLettersRequest{})
	require.NoError(t, err)
	require.Len(t, dead.GetDeadLetters(), 1)
}

// TestWatchesTheDisk: the one service that mails alerts is the one that watches the broker's disk, and which way events go.
func TestWatchesTheDisk(t *testing.T) {
	t.Parallel()
	cfg, _ := testConfig(t)
	queues := redistest.Start(t)
	conf := t.TempDir() + "/config.yaml"
	require.NoError(t, os.WriteFile(conf, defaults, 0o600))
	// A process of its own: the metrics of several services in one are mixed.
	start(t, append(os.Environ(), "NOTIFY_TEST_COMMAND=1", "NOTIFY_LISTEN="+cfg.GRPC.Addr, "NOTIFY_ADMIN_LISTEN="+cfg.Admin.Addr,
		"IDENTITY_KEYS="+cfg.IdentityKeys, "NOTIFY_DSN="+cfg.MySQL.DSN, "NOTIFY_MIGRATE_DSN="+cfg.MySQL.MigrateDSN,
		"MQ_NAME_SERVERS="+tightBroker(t), "QUEUES_ADDR="+queues.Addr, "MQ_KEYS="+mqtest.KeyText), conf)
	db := migrated(t, cfg)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Equal(c, "1\n--\n", mysqltest.Dump(t, db, "SELECT COUNT(*) FROM mq_outbox WHERE subject = 'notify/broker-disk'"))
	}, 30*time.Second, 50*time.Millisecond)
	reply, err := http.Get("http://" + cfg.Admin.Addr + "/metrics")
	require.NoError(t, err)
	text, err := io.ReadAll(reply.Body)
	require.NoError(t, errors.Join(err, reply.Body.Close()))
	assert.Regexp(t, `(?m)^mq_broker_disk_ratio(\{.*\})? 0\.85$`, string(text))
	assert.Regexp(t, `(?m)^mq_queue_entries(\{.*\})? \d+$`, string(text))

	q, err := redis.Open(redis.Config{Addr: queues.Addr})
	require.NoError(t, err)
	defer q.Close()
	held := redis.Held
	require.Eventually(t, func() bool {
		s, err := q.Look(t.Context())
		if err != nil {
			return false
		}
		done, err := q.Change(t.Context(), s, redis.Change{By: "ann", To: redis.Degraded, Why: "a test", Force: &held})
		return err == nil && done && s.Mode == redis.Normal
	}, 10*time.Second, 50*time.Millisecond)
	require.Eventually(t, func() bool {
		return mysqltest.Dump(t, db, "SELECT COUNT(*) FROM mq_outbox WHERE subject = 'notify/mq-mode'") == "1\n--\n"
	}, 30*time.Second, 50*time.Millisecond)
}

// tightBroker returns the address of a name server, and of the broker that it knows, of whose disk 85 % are used.
func tightBroker(t *testing.T) (addr string) {
	addr = remotingtest.Serve(t, func(request int, _ map[string]string) (int, string) {
		switch request {
		case remoting.BrokerClusterInfo:
			return 0, fmt.Sprintf(`{"brokerAddrTable":{"a":{"brokerAddrs":{0:%q},"brokerName":"a"}}}`, addr)
		case remoting.BrokerRuntimeInfo:
			return 0, `{"table":{"commitLogDiskRatio":"0.85"}}`
		}
		return 1, ""
	})
	return addr
}

// TestKilledBetweenAnswerAndNote tests that the provider is called again, with the key by which it recognizes the message.
func TestKilledBetweenAnswerAndNote(t *testing.T) {
	t.Parallel()
	cfg, _ := testConfig(t)
	var (
		mu   sync.Mutex
		keys []string
	)
	provider := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		keys = append(keys, r.Header.Get("Idempotency-Key"))
	}))
	t.Cleanup(provider.Close)
	conf := t.TempDir() + "/config.yaml"
	require.NoError(t,
		os.WriteFile(conf, []byte(strings.Replace(string(defaults), "lease: 30s", "lease: 3s", 1)), 0o600))
	env := append(os.Environ(), "NOTIFY_TEST_COMMAND=1", "NOTIFY_LISTEN="+cfg.GRPC.Addr, "NOTIFY_ADMIN_LISTEN="+cfg.Admin.Addr,
		"IDENTITY_KEYS="+cfg.IdentityKeys, "NOTIFY_DSN="+cfg.MySQL.DSN, "NOTIFY_MIGRATE_DSN="+cfg.MySQL.MigrateDSN,
		"MQ_NAME_SERVERS="+cfg.MQ.NameServers, "QUEUES_ADDR=127.0.0.1:1", "MQ_KEYS="+mqtest.KeyText, "FAULTS=true",
		"SMS_PROVIDER=http", "SMS_URL="+provider.URL, "SMS_TOKEN=t")

	first := start(t, env, conf)
	fault(t, cfg, "notify/sent", "crash")
	db := migrated(t, cfg)
	_, err := db.ExecContext(t.Context(), `INSERT INTO notification (id, source, event_id, event_type, channel, recipient, subject, body, state)
		VALUES ('n-1', '/member', 'e-1', 'member.registered', 'SMS', '+8613800138000', '', 'hello', 'PENDING')`)
	require.NoError(t, err)
	require.Error(t, first.Wait())
	require.Equal(t, syscall.SIGKILL, first.ProcessState.Sys().(syscall.WaitStatus).Signal())
	assert.Equal(t, "PENDING 1\n--\n", mysqltest.Dump(t, db, "SELECT state, tries FROM notification"))

	second := start(t, env, conf)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Equal(c, "SENT 2\n--\n", mysqltest.Dump(t, db, "SELECT state, tries FROM notification"))
	}, 30*time.Second, 50*time.Millisecond)
	require.NoError(t, second.Process.Signal(syscall.SIGTERM))
	require.NoError(t, second.Wait())
	mu.Lock()
	defer mu.Unlock()
	assert.Equal(t, []string{"n-1", "n-1"}, keys)
}

// start runs the service as a process of its own.
func start(t *testing.T, env []string, conf string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe, "-conf", conf)
	var out bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &out, &out
	require.NoError(t, tied.Start(cmd))
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

// fault sets a failpoint as soon as the service answers.
func fault(t *testing.T, cfg config, point, text string) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		req, err := http.NewRequest(http.MethodPut, "http://"+cfg.Admin.Addr+"/faults", strings.NewReader(fmt.Sprintf(`{%q: %q}`, point, text)))
		assert.NoError(c, err)
		resp, err := http.DefaultClient.Do(req)
		if assert.NoError(c, err) {
			said, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			assert.Equal(c, http.StatusOK, resp.StatusCode, "%s", said)
		}
	}, 30*time.Second, 50*time.Millisecond)
}

// migrated opens the database of cfg.
func migrated(t *testing.T, cfg config) *sql.DB {
	t.Helper()
	db, err := database.Open(cfg.MySQL)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	require.NoError(t, database.Migrate(t.Context(), db, migrations.FS, mq.Tables(), alert.Tables()))
	return db
}

// TestOldRowsAreDeleted tests that rows that are closed and old are deleted in the background, and that PENDING ones stay.
func TestOldRowsAreDeleted(t *testing.T) {
	t.Parallel()
	cfg, _ := testConfig(t)
	db := migrated(t, cfg)
	for _, stmt := range []string{
		`INSERT INTO notification (id, source, event_id, event_type, channel, recipient, subject, body, state, next_at, created_at, closed_at) VALUES
		('old', 's', '1', 't', 'SMS', '+1', '', '', 'SENT', NOW(), NOW(), TIMESTAMPADD(DAY, -31, NOW())),
		('young', 's', '2', 't', 'SMS', '+1', '', '', 'SENT', NOW(), NOW(), TIMESTAMPADD(DAY, -29, NOW())),
		('open', 's', '3', 't', 'SMS', '+1', '', '', 'PENDING', TIMESTAMPADD(DAY, 1, NOW()), TIMESTAMPADD(DAY, -31, NOW()), NULL)`,
		`INSERT INTO inbox (id, channel, recipient, subject, body, received_at) VALUES
		('old', 'SMS', '+1', '', '', TIMESTAMPADD(DAY, -31, NOW())), ('young', 'SMS', '+1', '', '', TIMESTAMPADD(DAY, -29, NOW()))`,
		`INSERT INTO mq_inbox (grp, source, event_id, topic, type, subject, seq, state, closed_at) VALUES
		('g', 's', 'old', 't', 't', '', 0, 'DONE', TIMESTAMPADD(DAY, -8, NOW())), ('g', 's', 'young', 't', 't', '', 0, 'DONE', TIMESTAMPADD(DAY, -6, NOW()))`,
	} {
		_, err := db.ExecContext(t.Context(), stmt)
		require.NoError(t, err)
	}
	serving(t, cfg)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		assert.Equal(c, "open\nyoung\n--\nyoung\n--\nyoung\n--\n", mysqltest.Dump(t, db,
			"SELECT id FROM notification ORDER BY id", "SELECT id FROM inbox", "SELECT event_id FROM mq_inbox"))
	}, 20*time.Second, 20*time.Millisecond)
}

func TestStartFailsWithARemedy(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*config){
		"EMAIL_PROVIDER) is \"pigeon\": set it to demo or smtp": func(c *config) { c.Email.Provider = "pigeon" },
		"SMS_PROVIDER) is \"\": set it to demo or http":         func(c *config) { c.SMS.Provider = "" },
		"SMTP_ADDR":       func(c *config) { c.Email.Provider = "smtp" },
		"SMS_URL":         func(c *config) { c.SMS.Provider = "http" },
		"OPERATORS_EMAIL": func(c *config) { c.OperatorsEmail = "a@example.com,b" },
		"SMTP_TLS": func(c *config) {
			c.Email.Provider, c.Email.SMTP = "smtp", smtp.Config{Addr: "m:25", From: "a@b.cn", TLS: "x"}
		},
		"sender.lease: 3s or longer":   func(c *config) { c.Sender.Lease = time.Second },
		"sender.stop: from 0s to 8s":   func(c *config) { c.Sender.Stop = time.Minute },
		"unanswered, give_up and":      func(c *config) { c.Sender.Unanswered = 0 },
		"stale above 0":                func(c *config) { c.Stale = 0 },
		"keep.notifications":           func(c *config) { c.Keep.Notifications = -1 },
		"longer than the broker keeps": func(c *config) { c.Keep.Messages = time.Hour },
		"mq.name_servers is host:port": func(c *config) { c.MQ.NameServers = "here" },
	} {
		cfg, _ := testConfig(t)
		change(&cfg)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		require.ErrorContains(t, serve(ctx, cfg), want)
		cancel()
	}
}

// TestTimes tests that the built-in times are those of the standard, and fit into the time that a process has to stop.
func TestTimes(t *testing.T) {
	t.Parallel()
	cfg, _ := testConfig(t)
	assert.Equal(t, smtp.Times{Dial: 30 * time.Second, Command: 5 * time.Minute, Data: 2 * time.Minute, Block: 3 * time.Minute,
		Dot: 10 * time.Minute}, cfg.Email.SMTP.Times)
	assert.Equal(t, time.Minute, cfg.SMS.HTTP.Timeout)
	assert.Equal(t, sender.Times{Every: 250 * time.Millisecond, Lease: 30 * time.Second, Stop: 5 * time.Second, LongestPause: 10 * time.Minute,
		Unanswered: 30 * time.Minute, GiveUp: 24 * time.Hour}, cfg.Sender)
}

// TestMailServerAway tests that the service starts without its mail server, and sends when that is back.
func TestMailServerAway(t *testing.T) {
	t.Parallel()
	cfg, _ := testConfig(t)
	addr := servicetest.FreeAddr(t)
	cfg.Email.Provider, cfg.Email.SMTP = "smtp", smtp.Config{Addr: addr, From: "shop@example.com"}
	db := migrated(t, cfg)
	_, err := db.ExecContext(t.Context(), `INSERT INTO notification (id, source, event_id, event_type, channel, recipient, subject, body, state)
		VALUES ('n-1', '/member', 'e-1', 'member.registered', 'EMAIL', 'ann@example.com', 'hello', 'hello', 'PENDING')`)
	require.NoError(t, err)
	serving(t, cfg)
	state := "SELECT state, last_error LIKE 'connect: %' FROM notification"
	require.EventuallyWithT(t, func(c *assert.CollectT) { assert.Equal(c, "PENDING 1\n--\n", mysqltest.Dump(t, db, state)) },
		20*time.Second, 50*time.Millisecond)
	lis, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = lis.Close() })
	server := gosmtp.NewServer(gosmtp.BackendFunc(func(*gosmtp.Conn) (gosmtp.Session, error) { return taker{}, nil }))
	go func() { _ = server.Serve(lis) }()
	require.EventuallyWithT(t, func(c *assert.CollectT) { assert.Equal(c, "SENT 0\n--\n", mysqltest.Dump(t, db, state)) },
		30*time.Second, 50*time.Millisecond)
}

// taker takes every mail.
type taker struct{}

func (taker) Mail(string, *gosmtp.MailOptions) error { return nil }
func (taker) Rcpt(string, *gosmtp.RcptOptions) error { return nil }
func (taker) Data(r io.Reader) error                 { _, err := io.Copy(io.Discard, r); return err }
func (taker) Reset()                                 {}
func (taker) Logout() error                          { return nil }

func TestOperators(t *testing.T) {
	t.Parallel()
	got, err := config{OperatorsEmail: "a@example.com, b@example.com,a@example.com"}.operators()
	require.NoError(t, err)
	assert.Equal(t, []string{"a@example.com", "b@example.com"}, got)
}
