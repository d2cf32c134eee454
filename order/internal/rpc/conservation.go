package rpc

import (
	"context"
	"errors"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"

	orderv1 "example.com/fourfold/api/order/v1"
	"example.com/fourfold/order/internal/answer"
	"example.com/fourfold/order/internal/reconcile"
)

// Conservation serves the operators' checks of the books.
type Conservation struct {
	orderv1.UnimplementedConservationServer
	comparator *reconcile.Comparator
}

// NewConservation returns the service over comparator.
func NewConservation(comparator *reconcile.Comparator) *Conservation {
	return &Conservation{comparator: comparator}
}

// usualOpen is the default of open_seconds: what is younger is no violation.
const usualOpen = time.Minute

// CheckConservation checks the books now. It answers TRY_LATER when a service does not answer, never a report that leaves something out.
func (s *Conservation) CheckConservation(ctx context.Context, req *orderv1.CheckConservationRequest) (*orderv1.ConservationReport, error) {
	open := time.Duration(req.GetOpenSeconds()) * time.Second
	if open == 0 {
		open = usualOpen
	}
	report, err := s.comparator.Run(ctx, open)
	var silent reconcile.Silent
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, answer.TryLater("the check takes longer than a call may; " +
			"the metric conservation_violations tells what the regular one finds").(*kerrors.Error).WithCause(err)
	case errors.As(err, &silent):
		return nil, answer.TryLater(silent.Service + " does not answer, so nothing can be said about the books").(*kerrors.Error).WithCause(err)
	case err != nil:
		return nil, err
	}
	reply := &orderv1.ConservationReport{Ok: report.OK(), TookMs: report.Took.Milliseconds()}
	for _, c := range report.Checks {
		reply.Checks = append(reply.Checks, &orderv1.ConservationReport_Check{
			Name: c.Name, Ok: len(c.Violations) == 0, Checked: c.Checked, Violations: c.Violations,
		})
	}
	return reply, nil
}
