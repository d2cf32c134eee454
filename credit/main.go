// Command credit owns members' points, and is a participant of the payment and refund transactions.
//
//	credit [-conf FILE]                                                  serves
//	credit [-conf FILE] seed -member ID -points N -source SOURCE         adds points once
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	booksv1 "example.com/fourfold/api/books/v1"
	creditv1 "example.com/fourfold/api/credit/v1"
	mqv1 "example.com/fourfold/api/mq/v1"
	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/books"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/chassis/mq/messages"
	"example.com/fourfold/chassis/mq/rocketmq"
	"example.com/fourfold/chassis/mysql"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/credit/internal/deduction"
	"example.com/fourfold/credit/internal/grant"
	store "example.com/fourfold/credit/internal/mysql"
	"example.com/fourfold/credit/internal/registration"
	"example.com/fourfold/credit/internal/rpc"
	"example.com/fourfold/credit/migrations"
)

func main() {
	conf := flag.String("conf", "", "configuration file; the built-in one when empty")
	flag.Parse()
	var cfg config
	err := service.Load(*conf, defaults, &cfg)
	if err == nil {
		switch ctx := context.Background(); flag.Arg(0) {
		case "":
			err = run(ctx, cfg)
		case "seed":
			err = seed(ctx, cfg.MySQL, flag.Args()[1:], os.Stdout)
		default:
			err = fmt.Errorf("there is no command %q: leave it out to serve, or seed", flag.Arg(0))
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "credit:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends or the process is told to stop.
func run(ctx context.Context, cfg config) error {
	keys, err := tcc.ParseKeys(cfg.BranchKeys)
	if err != nil {
		return err
	}
	retention, err := cfg.retention()
	if err != nil {
		return err
	}
	db, err := mysql.Open(cfg.MySQL)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	if err := mysql.Migrate(ctx, db, migrations.FS, mq.Tables(), alert.Tables()); err != nil {
		return err
	}
	broker, err := rocketmq.Dial("credit", cfg.MQ)
	if err != nil {
		return err
	}
	defer broker.Close()
	bus := mq.NewBus("credit", broker, cfg.MQ.Config)
	outbox := mq.NewOutbox(db, bus, mq.OutboxConfig{}) // of alerts

	svc, err := service.New("credit", cfg.Config)
	if err != nil {
		return err
	}
	svc.Ready("mysql", db.PingContext)
	if err := mq.Observe(db); err != nil {
		return err
	}
	accounts := store.NewStore(db)
	members, err := registration.New(accounts, cfg.RegistrationPoints)
	if err != nil {
		return err
	}
	creditv1.RegisterCreditsServer(svc.GRPC, rpc.NewCredits(accounts))
	creditv1.RegisterCreditGrantServer(svc.GRPC, grant.New(tcc.NewParticipant("credit", db, keys), accounts))
	creditv1.RegisterCreditDeductionServer(svc.GRPC, deduction.New(tcc.NewParticipant("credit-refund", db, keys), accounts))
	booksv1.RegisterBooksServer(svc.GRPC, books.NewServer(keys, store.NewBooks(db)))
	mqv1.RegisterMessagesServer(svc.GRPC, messages.NewServer("credit", db, bus, outbox, cfg.Keep.Messages.D()))
	svc.Go(func(ctx context.Context) error {
		return bus.Consume(ctx, db, registration.Subscription(), members.Handle)
	})
	svc.Go(outbox.Relay)
	svc.Go(alert.New(outbox, db, "credit").Watch)
	svc.Go(mysql.Retain(db, retention...))
	return svc.Run(ctx)
}
