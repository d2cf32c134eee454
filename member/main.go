// Command member owns accounts and signs access tokens. "member seed" makes one account from the command line.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	eventv1 "example.com/fourfold/api/event/v1"
	memberv1 "example.com/fourfold/api/member/v1"
	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/messages"
	"example.com/fourfold/chassis/mq/rocketmq"
	"example.com/fourfold/chassis/mysql"
	"example.com/fourfold/chassis/service"
	store "example.com/fourfold/member/internal/mysql"
	"example.com/fourfold/member/internal/password"
	"example.com/fourfold/member/internal/rpc"
	"example.com/fourfold/member/migrations"
)

func main() {
	if err := command(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "member:", err)
		os.Exit(1)
	}
}

// command does what the command line says: member [-conf FILE] [seed …].
func command(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("member", flag.ExitOnError)
	conf := flags.String("conf", "", "configuration file; the built-in one when empty")
	_ = flags.Parse(args) // exits on an error
	var cfg config
	if err := service.Load(*conf, defaults, &cfg); err != nil {
		return err
	}
	switch flags.Arg(0) {
	case "":
		return run(ctx, cfg)
	case "seed":
		return seed(ctx, cfg, flags.Args()[1:], os.Getenv("SEED_PASSWORD"), os.Stdout)
	}
	return fmt.Errorf("no command %q: there is seed, and without a command it serves", flags.Arg(0))
}

// run serves until ctx ends or the process is told to stop.
func run(ctx context.Context, cfg config) error {
	if err := cfg.check(); err != nil {
		return err
	}
	signer, err := loadSigner(cfg)
	if err != nil {
		return err
	}
	retention, err := mq.Retentions(cfg.Keep.Messages.D())
	if err != nil {
		return err
	}
	passwords, err := password.NewHasher()
	if err != nil {
		return err
	}
	db, err := mysql.Open(cfg.MySQL)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if err := mysql.Migrate(ctx, db, migrations.FS, mq.Tables()); err != nil {
		return err
	}
	broker, err := rocketmq.Dial("member", cfg.MQ)
	if err != nil {
		return err
	}
	defer broker.Close()
	bus := mq.NewBus("member", broker, cfg.MQ.Config)
	outbox := mq.NewOutbox(db, bus, mq.OutboxConfig{Grace: cfg.HalfGrace.D()})

	svc, err := service.New("member", cfg.Config)
	if err != nil {
		return err
	}
	if err := mq.Observe(db); err != nil {
		return err
	}
	svc.Ready("mysql", db.PingContext)
	memberv1.RegisterMembersServer(svc.GRPC, rpc.NewMembers(store.NewStore(db), outbox, passwords, signer, cfg.TokenTTL.D()))
	mqv1.RegisterMessagesServer(svc.GRPC, messages.NewServer("member", db, bus, outbox, cfg.Keep.Messages.D()))
	svc.Go(outbox.Answer(eventv1.TopicMembers))
	svc.Go(outbox.Relay)
	svc.Go(mysql.Retain(db, retention...))
	return svc.Run(ctx)
}
