// Command member owns accounts and signs access tokens. "member seed" creates one account from the command line; "member password", "member role"
// and "member close" change one.
package main

import (
	"context"

	eventv1 "example.com/fourfold/api/event/v1"
	memberv1 "example.com/fourfold/api/member/v1"
	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/messaging"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/member/internal/mysql"
	"example.com/fourfold/member/internal/password"
	"example.com/fourfold/member/internal/rpc"
	"example.com/fourfold/member/migrations"
)

func main() {
	service.Main("member", defaults, serve, seedCommand, passwordCommand, roleCommand, closeCommand)
}

// serve runs the service until ctx ends or the process is told to stop.
func serve(ctx context.Context, cfg config) error {
	if err := cfg.check(); err != nil {
		return err
	}
	signer, err := loadSigner(cfg)
	if err != nil {
		return err
	}
	passwords, err := password.NewHasher(cfg.Passwords.Waiting)
	if err != nil {
		return err
	}
	svc, err := service.New("member", cfg.Config)
	if err != nil {
		return err
	}
	defer svc.Close()
	db, err := svc.Database(cfg.MySQL, migrations.FS, messaging.Tables()...)
	if err != nil {
		return err
	}
	msgs, err := messaging.Open(svc, db, cfg.MQ, cfg.Keep.Messages)
	if err != nil {
		return err
	}
	store := mysql.NewStore(db)
	members, err := rpc.NewMembers(store, msgs.Outbox, passwords, signer, cfg.members())
	if err != nil {
		return err
	}
	memberv1.RegisterMembersServer(svc.GRPC, members)
	memberv1.RegisterEndingsServer(svc.GRPC, rpc.NewEndings(cfg.MQ.Keys, store, cfg.TokenTTL))
	svc.Go(database.Retain(db, mysql.Allowances()))
	svc.Go(msgs.Outbox.Answer(eventv1.TopicMembers))
	return svc.Run(ctx)
}
