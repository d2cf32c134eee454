package rpc

import (
	"context"
	"errors"
	"log/slog"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"

	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/order/internal/answer"
	"example.com/fourfold/order/internal/checkout"
	"example.com/fourfold/order/internal/mysql"
)

// Settlement serves the operators' decisions about attempts that do not settle by themselves.
type Settlement struct {
	orderv1.UnimplementedSettlementServer
	store    *mysql.Store
	checkout *checkout.Checkout
}

// NewSettlement returns the service over store and checkout.
func NewSettlement(store *mysql.Store, checkout *checkout.Checkout) *Settlement {
	return &Settlement{store: store, checkout: checkout}
}

// GetSettlement reports where the open attempt stands and which decisions are possible.
func (s *Settlement) GetSettlement(ctx context.Context, req *orderv1.GetSettlementRequest) (*orderv1.SettlementReport, error) {
	note(ctx, req.GetId())
	standing, err := s.checkout.Standing(ctx, req.GetId())
	if err != nil && !errors.Is(err, checkout.ErrNothingOpen) {
		return nil, unsettled(err)
	}
	return s.report(ctx, req.GetId(), standing)
}

// Settle carries a decision out and reports what came of it. Each use is logged with who decided.
func (s *Settlement) Settle(ctx context.Context, req *orderv1.SettleRequest) (*orderv1.SettlementReport, error) {
	note(ctx, req.GetId())
	if _, err := s.store.State(ctx, req.GetId()); err != nil {
		return nil, answer.Error(err)
	}
	log := slog.With("operator", identity.FromContext(ctx).MemberID, "decision", req.GetDecision().String())
	log.WarnContext(ctx, "an operator settles by hand")
	standing, err := s.checkout.Settle(ctx, req.GetId(), checkout.Decision(req.GetDecision().String()))
	if err != nil {
		log.WarnContext(ctx, "not settled by hand", "gid", standing.GID, "err", err)
		return nil, unsettled(err)
	}
	for _, b := range standing.Branches {
		log.WarnContext(ctx, "settled by hand", "gid", standing.GID, "coordinator", string(standing.Coordinator), "branch", b.Service,
			"state", string(b.State), "err", b.Err)
	}
	return s.report(ctx, req.GetId(), standing)
}

// unsettled returns the answer for an error of checkout.
func unsettled(err error) error {
	var refused checkout.Refused
	var silent checkout.Silent
	switch {
	case errors.As(err, &refused), errors.Is(err, checkout.ErrNothingOpen):
		return orderv1.ErrorOrderState("%v", err)
	case errors.As(err, &silent):
		return answer.TryLater(silent.Service + " does not answer, so nothing was changed").(*kerrors.Error).WithCause(err)
	}
	return answer.Error(err)
}

// report returns standing as operators read it.
func (s *Settlement) report(ctx context.Context, id string, standing checkout.Standing) (*orderv1.SettlementReport, error) {
	state, err := s.store.State(ctx, id)
	if err != nil {
		return nil, answer.Error(err)
	}
	r := &orderv1.SettlementReport{
		OrderId: id, Status: orderv1.Order_Status(orderv1.Order_Status_value[string(state.Status)]), Gid: standing.GID,
		Kind: string(standing.Kind), AgeSeconds: int64(standing.Age / time.Second), Coordinator: string(standing.Coordinator),
	}
	if standing.GID == "" {
		return r, nil
	}
	for _, b := range standing.Branches {
		r.Branches = append(r.Branches, &orderv1.SettlementReport_Branch{Service: b.Service, State: string(b.State), Error: phaseError(b.Err)})
	}
	for _, d := range checkout.Decisions() {
		r.Choices = append(r.Choices, &orderv1.SettlementReport_Choice{
			Decision: orderv1.Decision(orderv1.Decision_value[string(d)]), Refusal: standing.Refusal(d)})
	}
	return r, nil
}

// phaseError returns why a phase failed, without addresses of our network.
func phaseError(err error) string {
	switch e := kerrors.FromError(err); {
	case err == nil:
		return ""
	case e.Reason == "":
		return "no answer: it is not known whether it had its effect; repeat the call"
	default:
		return e.Reason + ": " + e.Message
	}
}
