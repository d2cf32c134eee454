package outage_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/audit"
	"example.com/fourfold/chassis/mq/failover"
	"example.com/fourfold/chassis/mq/mqlaws"
	"example.com/fourfold/chassis/mq/mqtest"
	"example.com/fourfold/chassis/mq/redis"
	"example.com/fourfold/chassis/mq/rocketmq"
	"example.com/fourfold/chassis/tied"
	"example.com/fourfold/deploy/rocketmq/rocketmqtest"
)

func TestMain(m *testing.M) {
	if os.Getenv("OUTAGE_DSN") != "" {
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	rocketmqtest.Main(m)
}

// groups are those of the service; each has one effect an event.
var groups = map[string]mq.Order{"strict": mq.Strict, "newest": mq.Newest, "unordered": mq.Unordered}

// subjects is how many things facts are about.
const subjects = 40

// serve is a process of the service: it commits facts while it may, its relay sends them, and its groups follow. Lines of its standard input say
// whether it commits ("facts on", "facts off") and how it ends ("end").
func serve() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	db, err := database.Open(database.Config{DSN: os.Getenv("OUTAGE_DSN"), MaxConns: 20})
	if err != nil {
		return err
	}
	broker, err := rocketmq.Dial("shop", rocketmq.Config{NameServers: os.Getenv("OUTAGE_NAMES")})
	if err != nil {
		return err
	}
	queues, err := redis.Open(redis.Config{Addr: os.Getenv("OUTAGE_REDIS")})
	if err != nil {
		return err
	}
	ways := failover.New("shop", broker, queues, failover.Config{})
	bus := mq.NewBus("shop", ways, mq.Config{Keys: mqtest.Keys()})
	outbox := mq.NewOutbox(db, bus, mq.OutboxConfig{Poll: 100 * time.Millisecond})
	ways.Backfill(outbox.Backfill)
	publishers := map[string]mqv1.SentClient{"shop": audit.NewServer(mqtest.Keys(), db, outbox).Local()}
	auditor := audit.New(db, bus, mqtest.Keys(), publishers, nobody{}, audit.Times{})
	works := []func(context.Context) error{ways.Run, outbox.Relay, auditor.AskForGaps}
	if os.Getenv("OUTAGE_GROUPS") != "no" {
		for group, order := range groups {
			topic := os.Getenv("OUTAGE_TOPIC")
			// The broker wants the same subscription of all of a group, and other tests use it too.
			s := mq.Subscription{Group: group + "-" + topic, Topic: topic, Order: order, Poll: 100 * time.Millisecond}
			works = append(works, func(ctx context.Context) error { return bus.Consume(ctx, db, s, mqlaws.Effect(group)) })
		}
	}
	var wg sync.WaitGroup
	for _, work := range works {
		wg.Go(func() {
			if err := work(ctx); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		})
	}
	facts := make(chan bool)
	wg.Go(func() { commit(ctx, outbox, os.Getenv("OUTAGE_TOPIC"), facts) })
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		switch lines.Text() {
		case "facts on":
			facts <- true
		case "facts off":
			facts <- false
		case "end":
			cancel()
			wg.Wait()
			return nil
		}
	}
	return errors.New("whoever started this is gone")
}

type nobody struct{}

func (nobody) Raise(context.Context, string, string, string) error { return nil }
func (nobody) Clear(context.Context, string) error                 { return nil }

// commit commits facts, about twenty a second, each with its event, while facts is true.
func commit(ctx context.Context, o *mq.Outbox, topic string, facts <-chan bool) {
	on, pause := false, 100*time.Millisecond
	if os.Getenv("OUTAGE_FAST") != "" {
		pause = time.Millisecond
	}
	for {
		var tick <-chan time.Time
		if on {
			tick = time.After(rand.N(pause))
		}
		select {
		case <-ctx.Done():
			return
		case on = <-facts:
		case <-tick:
			_ = fact(ctx, o, topic, rand.N(subjects)) // one that was not committed is none
		}
	}
}

func fact(ctx context.Context, o *mq.Outbox, topic string, subject int) error {
	return o.InTx(ctx, func(tx *sql.Tx) error {
		name := fmt.Sprint("s", subject)
		if _, err := tx.ExecContext(ctx, "INSERT INTO fact (subject, n) VALUES (?, 1) ON DUPLICATE KEY UPDATE n = n + 1", name); err != nil {
			return err
		}
		var n int64
		if err := tx.QueryRowContext(ctx, "SELECT n FROM fact WHERE subject = ?", name).Scan(&n); err != nil {
			return err
		}
		return o.Append(ctx, tx, topic, mq.Event{Type: "thing.happened", Subject: name, Sequence: n, Data: []byte(`{}`)})
	})
}

// process is one process of the service, as the test sees it.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
}

// start starts a process that finds the broker by names.
func (w *world) start(t *testing.T, names string, env ...string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), append([]string{"OUTAGE_DSN=" + w.dsn, "OUTAGE_NAMES=" + names, "OUTAGE_REDIS=" + w.redis.Addr,
		"OUTAGE_TOPIC=" + w.topic}, env...)...)
	cmd.Stderr = w.log
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, tied.Start(cmd))
	p := &process{cmd, in}
	t.Cleanup(p.kill)
	return p
}

func (p *process) say(line string) { _, _ = fmt.Fprintln(p.in, line) }

// kill ends the process as a crash would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// end lets the process end in an orderly way.
func (p *process) end(t *testing.T) {
	t.Helper()
	p.say("end")
	require.NoError(t, p.cmd.Wait())
}

// freeze stops the process where it has no transaction open: a row that it has locked would wait for it, whatever the mode is.
func (w *world) freeze(t *testing.T, p *process) {
	t.Helper()
	for range 20 {
		require.NoError(t, tied.Freeze(p.cmd.Process))
		time.Sleep(2200 * time.Millisecond) // others' transactions end; the server tells in whole seconds when one began
		if mysqltest.Dump(t, w.db, `SELECT trx_id FROM information_schema.innodb_trx JOIN information_schema.processlist ON id = trx_mysql_thread_id
			WHERE db = DATABASE() AND trx_started < NOW() - INTERVAL 1 SECOND`) == "--\n" {
			return
		}
		p.thaw(t)
		time.Sleep(50 * time.Millisecond) // until it is somewhere else
	}
	t.Fatal("it has a transaction open whenever it is stopped")
}

func (p *process) thaw(t *testing.T) { require.NoError(t, p.cmd.Process.Signal(syscall.SIGCONT)) }
