package main

import (
	"cmp"
	"fmt"

	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/alert"
	"example.com/fourfold/chassis/ledger"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/order/internal/checkout"
	"example.com/fourfold/order/internal/mysql"
	"example.com/fourfold/order/internal/participant"
	"example.com/fourfold/order/internal/payment"
	"example.com/fourfold/order/internal/reconcile"
	"example.com/fourfold/order/internal/rpc"
)

// initiator returns the initiator of payments and refunds over peers, lets svc serve order's own branches, and sweeps what stays open.
func (c config) initiator(svc *service.Service, branches *tcc.Branches, orders *mysql.Store, peers participant.Peers,
	alerts *alert.Alerts) (*checkout.Checkout, error) {
	coordinator, err := tcc.Dial(c.Coordinator.GRPC, c.Coordinator.Admin, c.TLS, branches.Keys)
	if err != nil {
		return nil, err
	}
	svc.OnClose(func() { _ = coordinator.Close() })
	pay := payment.New(branches.Participant("order"), orders)
	refund := payment.NewRefund(branches.Participant("order-refund"), orders)
	orderv1.RegisterOrderPaymentServer(tcc.Registrar(svc.GRPC), pay)
	orderv1.RegisterOrderRefundServer(tcc.Registrar(svc.GRPC), refund)
	svc.Go(checkout.NewSweeper(orders, coordinator, alerts, c.Sweep).Run)
	own := cmp.Or(c.OwnAddr, c.GRPC.Addr)
	conn, err := svc.Dial(own)
	if err != nil {
		return nil, fmt.Errorf("own_addr: %w", err)
	}
	svc.OnClose(func() { _ = conn.Close() })
	initiator := checkout.New(orders, coordinator, pay, refund, own, conn, peers, c.Payment)
	orderv1.RegisterSettlementServer(svc.GRPC, rpc.NewSettlement(orders, initiator))
	return initiator, nil
}

// reconcile lets svc compare order's books with those of peers, on request and regularly.
func (c config) reconcile(svc *service.Service, branches *tcc.Branches, orders *mysql.Store, peers participant.Peers, alerts *alert.Alerts) {
	var theirs []reconcile.Peer
	for _, p := range peers {
		theirs = append(theirs, reconcile.Peer{Participant: p.Participant, Ledger: ledger.NewClient(branches.Keys, p.Conn)})
	}
	comparator := reconcile.New(orders, theirs...)
	orderv1.RegisterConservationServer(svc.GRPC, rpc.NewConservation(comparator))
	svc.Go(reconcile.NewWatch(comparator, orders, alerts, c.Conservation.Every, c.Conservation.Open).Run)
}
