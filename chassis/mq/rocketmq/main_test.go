package rocketmq_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/failpoint"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/mq/rocketmq"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
)

func TestMain(m *testing.M) {
	if os.Getenv("MQ_CHILD") != "" {
		if err := child(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	rocketmqtest.Main(m)
}

// child is another process of a service. It is killed at the failpoint MQ_CRASH. As "survivor" its end message is lost; it answers the broker
// when its row is SENT, and lives until its standard input ends. As "stopped" it is a relay that waits at the failpoint until its standard input
// ends, and is told to stop then.
func child() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	failpoint.Allow()
	kind, action := os.Getenv("MQ_CHILD"), "crash"
	switch kind {
	case "stopped":
		action = "pause"
	case "survivor":
		action = "error"
		if err := failpoint.Set("mq/check", "error"); err != nil {
			return err
		}
	}
	if err := failpoint.Set(os.Getenv("MQ_CRASH"), action); err != nil {
		return err
	}
	db, err := database.Open(database.Config{DSN: os.Getenv("MQ_DSN")})
	if err != nil {
		return err
	}
	service := os.Getenv("MQ_SERVICE")
	broker, err := rocketmq.Dial(service, rocketmq.Config{NameServers: os.Getenv("MQ_NAMES")})
	if err != nil {
		return err
	}
	b := mq.NewBus(service, broker, mq.Config{Keys: mqtest.Keys()})
	topic := os.Getenv("MQ_TOPIC")
	grace, err := time.ParseDuration(os.Getenv("MQ_GRACE"))
	if err != nil {
		return err
	}
	if kind == "consumer" {
		return b.Consume(ctx, db, group(topic), mqlaws.Effect("a"))
	}
	o := mq.NewOutbox(db, b, mq.OutboxConfig{Grace: grace, LongestTx: time.Second, HalfTimeout: 3 * time.Second})
	switch kind {
	case "stopped":
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			cancel()
			_ = failpoint.Set(os.Getenv("MQ_CRASH"), "")
		}()
		fallthrough
	case "relay":
		return o.Relay(ctx)
	}
	e := mqlaws.New("s", 1)
	e.ID = ""
	err = o.PublishInTx(ctx, topic, e, func(tx *sql.Tx) error { return fact(ctx, tx, "s") })
	if err != nil || action == "crash" {
		return err
	}
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }()
	go func() {
		for n := 0; n == 0; time.Sleep(20 * time.Millisecond) {
			_ = db.QueryRowContext(ctx, "SELECT COUNT(*) FROM mq_outbox WHERE state = 'SENT'").Scan(&n)
		}
		_ = failpoint.Set("mq/check", "")
	}()
	return o.Relay(ctx)
}

// group is the subscription that child and test share.
func group(topic string) mq.Subscription {
	return mq.Subscription{Group: "g-" + topic, Topic: topic, Order: mq.Strict, FirstPause: 50 * time.Millisecond, Poll: 50 * time.Millisecond}
}

// fact makes the local change that the event announces.
func fact(ctx context.Context, tx *sql.Tx, subject string) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO fact (subject) VALUES (?)", subject)
	return err
}

// crash runs a child and waits until it is dead by SIGKILL.
func crash(t *testing.T, kind, point, dsn, names, service, topic string, grace time.Duration) {
	t.Helper()
	cmd := command(kind, point, dsn, names, service, topic, grace)
	out, err := cmd.CombinedOutput()
	require.Error(t, err, "the child ended by itself: %s", out)
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok)
	require.Equal(t, syscall.SIGKILL, status.Signal(), "%s", out)
}

func command(kind, point, dsn, names, service, topic string, grace time.Duration) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "MQ_CHILD="+kind, "MQ_CRASH="+point, "MQ_DSN="+dsn, "MQ_NAMES="+names, "MQ_SERVICE="+service,
		"MQ_TOPIC="+topic, "MQ_GRACE="+grace.String())
	return cmd
}
