package tcc

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"

	"example.com/fourfold/chassis/failpoint"
	"example.com/fourfold/chassis/mysql"
	"example.com/fourfold/chassis/telemetry"
)

const (
	opTry     = "try"
	opConfirm = "confirm"
	opCancel  = "cancel"
)

var (
	// ErrForged: the call does not come from an initiator that holds a key, or its headers do not fit its method. 403.
	ErrForged = errors.New("not a call of this transaction")
	// ErrNotTried is what a Confirm or Cancel returns that finds no row which this gid's Try left: forged, or the row was
	// lost. Nothing was changed. It is an error, so the coordinator keeps retrying and people are alarmed.
	ErrNotTried = errors.New("no tried row of this transaction")
)

// Participant runs the phases of one branch in the service's own database. Every phase is one local transaction together
// with its barrier row (table barrier), which makes these hold: a repeated call runs once; a Cancel without Try
// changes nothing; a Try after its Cancel changes nothing; racing deliveries wait for each other. In all these cases
// the phase answers nil without running.
//
// The barrier does not know whether a Confirm's Try ever ran: the phase must demand the tried row itself and return
// ErrNotTried.
//
// Each phase passes the failpoint <name>/try, <name>/confirm or <name>/cancel before it begins.
type Participant struct {
	db     *sql.DB
	keys   Keys
	name   string
	tracer trace.Tracer
	phases metric.Float64Histogram
}

// NewParticipant makes the participant called name (a word for logs and metrics) over db, which holds the table barrier.
func NewParticipant(name string, db *sql.DB, keys Keys) *Participant {
	const scope = "example.com/fourfold/chassis/tcc"
	phases, err := otel.Meter(scope).Float64Histogram("tcc_branch_phase_duration", metric.WithUnit("s"),
		metric.WithExplicitBucketBoundaries(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5),
		metric.WithDescription("Calls of branch phases by participant, phase and outcome: done, refused, not_tried, forged, error."))
	if err != nil {
		otel.Handle(err)
	}
	return &Participant{db, keys, name, otel.Tracer(scope), phases}
}

// Phase is the effect of one phase, inside tx. gid names the global transaction.
type Phase func(tx *sql.Tx, gid string) error

// Try runs phase for orderID. A refusal by the business is an error of Kratos code 409; any other error means unknown.
func (p *Participant) Try(ctx context.Context, orderID string, phase Phase) (*emptypb.Empty, error) {
	return p.run(ctx, opTry, orderID, phase)
}

// Confirm runs phase for orderID. It must not refuse.
func (p *Participant) Confirm(ctx context.Context, orderID string, phase Phase) (*emptypb.Empty, error) {
	return p.run(ctx, opConfirm, orderID, phase)
}

// Cancel runs phase for orderID, only when the Try ran. It must not refuse.
func (p *Participant) Cancel(ctx context.Context, orderID string, phase Phase) (*emptypb.Empty, error) {
	return p.run(ctx, opCancel, orderID, phase)
}

func (p *Participant) run(ctx context.Context, op, orderID string, phase Phase) (*emptypb.Empty, error) {
	c := callFrom(ctx)
	start := time.Now()
	ctx, span := p.tracer.Start(ctx, p.name+" "+op, trace.WithAttributes(attribute.String("branch", c.branchID)))
	defer span.End()
	telemetry.Note(ctx, slog.String("order", orderID), slog.String("gid", c.gid))
	err := p.apply(ctx, c, op, orderID, phase)
	outcome := "done"
	switch {
	case err == nil:
	case errors.Is(err, ErrForged):
		outcome = "forged"
		err = forged(err)
	case errors.Is(err, ErrNotTried):
		outcome = "not_tried"
		err = kerrors.InternalServer("BRANCH_NOT_TRIED", fmt.Sprintf("%s of %s: %v", op, p.name, ErrNotTried)).WithCause(err)
	case op == opTry && kerrors.IsConflict(err):
		outcome = "refused"
	default:
		outcome = "error"
	}
	p.phases.Record(ctx, time.Since(start).Seconds(), metric.WithAttributes(
		attribute.String("participant", p.name), attribute.String("phase", op), attribute.String("outcome", outcome)))
	span.SetAttributes(attribute.String("outcome", outcome))
	switch outcome {
	case "done":
		return &emptypb.Empty{}, nil
	case "refused":
		return nil, err
	}
	span.SetStatus(otelcodes.Error, outcome)
	slog.ErrorContext(ctx, "branch phase failed", "participant", p.name, "phase", op, "outcome", outcome, "err", err)
	return nil, err
}

func (p *Participant) apply(ctx context.Context, c call, op, orderID string, phase Phase) error {
	if c.op != op || c.gid == "" || c.branchID == "" || orderID == "" {
		return fmt.Errorf("%w: %s called with op %q, gid %q, branch %q, order %q", ErrForged, op, c.op, c.gid, c.branchID, orderID)
	}
	if !fits(c.gid) || !fits(c.branchID) {
		return fmt.Errorf("%w: gid and branch id have at most %d bytes, of ASCII", ErrForged, maxID)
	}
	if err := p.keys.Check(c.mac, c.gid, orderID); err != nil {
		return err
	}
	if err := failpoint.Hit(ctx, p.name+"/"+op); err != nil {
		return err
	}
	return mysql.InTx(ctx, p.db, func(tx *sql.Tx) error {
		run, err := pass(ctx, tx, c)
		if err != nil || !run {
			return err
		}
		return phase(tx, c.gid)
	})
}

// maxID is what the barrier's columns hold. A longer value would be cut by INSERT IGNORE and match the wrong row.
const maxID = 64

func fits(id string) bool {
	return len(id) <= maxID && !strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' })
}

// call is what the branch headers say.
type call struct{ gid, branchID, op, mac string }

// localCall is the context key of a call inside this process.
type localCall struct{}

func callFrom(ctx context.Context) call {
	if c, ok := ctx.Value(localCall{}).(call); ok {
		return c
	}
	md, _ := metadata.FromIncomingContext(ctx)
	get := func(key string) string {
		if v := md.Get(key); len(v) > 0 {
			return v[0]
		}
		return ""
	}
	return call{gid: get("dtm-gid"), branchID: get("dtm-branch_id"), op: get("dtm-op"), mac: get(macHeader)}
}
