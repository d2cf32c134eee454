// Command credit owns members' points, and is a participant of the payment and refund transactions.
//
//	credit [-conf FILE]                                                  serves
//	credit [-conf FILE] seed -member ID -points N -source SOURCE         adds points once
package main

import (
	"context"

	creditv1 "example.com/fourfold/api/credit/v1"
	ledgerv1 "example.com/fourfold/api/ledger/v1"
	"example.com/fourfold/chassis/ledger"
	"example.com/fourfold/chassis/messaging"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/credit/internal/deduction"
	"example.com/fourfold/credit/internal/grant"
	"example.com/fourfold/credit/internal/mysql"
	"example.com/fourfold/credit/internal/registration"
	"example.com/fourfold/credit/internal/rpc"
	"example.com/fourfold/credit/migrations"
)

func main() { service.Main("credit", defaults, serve, seedCommand) }

// serve runs the service until ctx ends or the process is told to stop.
func serve(ctx context.Context, cfg config) error {
	svc, err := service.New("credit", cfg.Config, tcc.ServerOption())
	if err != nil {
		return err
	}
	defer svc.Close()
	db, err := svc.Database(cfg.MySQL, migrations.FS, append(messaging.Tables(), tcc.Tables())...)
	if err != nil {
		return err
	}
	msgs, err := messaging.Open(svc, db, cfg.MQ, cfg.Keep.Messages)
	if err != nil {
		return err
	}
	branches, err := tcc.OpenBranches(svc, db, msgs.Alerts, "order", cfg.BranchKeys, cfg.Keep.Barrier)
	if err != nil {
		return err
	}
	accounts := mysql.NewStore(db)
	members, err := registration.New(accounts, cfg.RegistrationPoints)
	if err != nil {
		return err
	}
	creditv1.RegisterCreditsServer(svc.GRPC, rpc.NewCredits(accounts))
	creditv1.RegisterCreditGrantServer(tcc.Registrar(svc.GRPC), grant.New(branches.Participant("credit"), accounts))
	creditv1.RegisterCreditDeductionServer(tcc.Registrar(svc.GRPC), deduction.New(branches.Participant("credit-refund"), accounts))
	ledgerv1.RegisterLedgerServer(svc.GRPC, ledger.NewServer(branches.Keys, mysql.NewLedger(db)))
	msgs.Consume(registration.Subscription(), members.Handle)
	return svc.Run(ctx)
}
