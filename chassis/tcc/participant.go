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
	"google.golang.org/protobuf/types/known/emptypb"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/failpoint"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/telemetry"
)

// Phase is one of the three calls of a branch.
type Phase string

// The phases, as the coordinator names them. Try may refuse: a Kratos error with code 409 is a refusal by the business. Any other error means
// that it is unknown whether the phase had its effect. Confirm and Cancel must not refuse.
const (
	Try     Phase = "try"
	Confirm Phase = "confirm"
	Cancel  Phase = "cancel"
)

var (
	// ErrForged means that the call does not come from a holder of a key, or that its headers do not fit its method. The caller gets 403.
	ErrForged = errors.New("not a call of this transaction")
	// ErrNotTried is returned by a Confirm or Cancel that finds no row left by this gid's Try: the call is forged, or the row was lost. Nothing
	// was changed. It is an error, so the coordinator keeps retrying, and people are alerted (Missing).
	ErrNotTried = errors.New("no tried row of this transaction")
)

// Participant runs the phases of one branch in the service's own database. Every phase is one local transaction together with its barrier row
// (table barrier). The barrier ensures that a repeated call runs once, a Cancel without its Try changes nothing, a Try after its Cancel changes
// nothing, and racing deliveries wait for each other. In all these cases Run returns no error without running the phase.
//
// The barrier does not know whether a Confirm's Try ever ran: the effect must check for the tried row itself and return ErrNotTried when there
// is none.
//
// Each phase hits the failpoint <name>/try, <name>/confirm or <name>/cancel before it begins.
type Participant struct {
	db            *sql.DB
	keys          mac.Keys
	name, subject string
	missing       *Missing // nil: nobody is alerted
	tracer        trace.Tracer
	phases        metric.Float64Histogram
}

// NewParticipant returns the participant called name, a word for logs and metrics. db holds the table barrier.
func NewParticipant(name string, db *sql.DB, keys mac.Keys) *Participant {
	const scope = "example.com/fourfold/chassis/tcc"
	phases, err := otel.Meter(scope).Float64Histogram("tcc_branch_phase_duration", metric.WithUnit("s"),
		metric.WithExplicitBucketBoundaries(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5),
		metric.WithDescription("Calls of branch phases by participant, phase and outcome: done, refused, not_tried, forged, error."))
	if err != nil {
		otel.Handle(err)
	}
	return &Participant{db: db, keys: keys, name: name, subject: "subject", tracer: otel.Tracer(scope), phases: phases}
}

// Report lets p report to m what finds nothing tried, and returns p.
func (p *Participant) Report(m *Missing) *Participant {
	p.missing = m
	return p
}

// Effect does the work of a phase in tx. gid names the global transaction.
type Effect func(tx *sql.Tx, gid string) error

// Run runs effect as phase of a transaction about subject, for example an order's id. The MAC of the call must be made over that subject, the
// service that was called, and the bytes that were received: the branch's handlers are registered by Registrar, or called under LocalContext.
func (p *Participant) Run(ctx context.Context, phase Phase, subject string, effect Effect) (*emptypb.Empty, error) {
	return Reply(true, p.serve(ctx, phase, subject, func(ctx context.Context, c Call) error {
		return database.InTx(ctx, p.db, func(tx *sql.Tx) error {
			run, err := pass(ctx, tx, c)
			if err != nil || !run {
				return err
			}
			return effect(tx, c.GID)
		})
	}))
}

// serve admits the call of phase that ctx belongs to, makes it by do, and tells how it went.
func (p *Participant) serve(ctx context.Context, phase Phase, subject string, do func(context.Context, Call) error) error {
	c, mac, ok := callFrom(ctx)
	c.Subject = subject
	start := time.Now()
	ctx, span := p.tracer.Start(ctx, p.name+" "+string(phase), trace.WithAttributes(attribute.String("branch", c.Branch)))
	defer span.End()
	telemetry.Note(ctx, slog.String(p.subject, subject), slog.String("gid", c.GID))
	err := errUnregistered
	if ok {
		err = p.admit(ctx, c, mac, phase)
	}
	if err == nil {
		err = do(ctx, c)
	}
	outcome := "done"
	switch {
	case err == nil:
	case errors.Is(err, ErrForged):
		outcome = "forged"
		err = kerrors.Forbidden("BRANCH_FORGED", err.Error()).WithCause(err)
	case errors.Is(err, ErrNotTried):
		outcome = "not_tried"
		err = kerrors.InternalServer("BRANCH_NOT_TRIED", fmt.Sprintf("%s of %s: %v", phase, p.name, ErrNotTried)).WithCause(err)
		if p.missing != nil {
			p.missing.note(ctx, p.name, c)
		}
	case phase == Try && kerrors.IsConflict(err):
		outcome = "refused"
	default:
		outcome = "error"
	}
	p.phases.Record(ctx, time.Since(start).Seconds(), metric.WithAttributes(
		attribute.String("participant", p.name), attribute.String("phase", string(phase)), attribute.String("outcome", outcome)))
	span.SetAttributes(attribute.String("outcome", outcome))
	switch outcome {
	case "done":
		return nil
	case "refused":
		return err
	}
	span.SetStatus(otelcodes.Error, outcome)
	slog.ErrorContext(ctx, "branch phase failed", "participant", p.name, "phase", phase, "outcome", outcome, "err", err)
	return err
}

// errUnregistered is a mistake in the service's wiring, not in the call.
var errUnregistered = errors.New("the branch is not registered by tcc.Registrar: the bytes that the MAC was made over are not known")

// admit returns ErrForged unless c, which came with mac, is a call of phase by a holder of a key. It also hits the phase's failpoint.
func (p *Participant) admit(ctx context.Context, c Call, mac string, phase Phase) error {
	if c.Phase != phase || c.GID == "" || c.Branch == "" || c.Subject == "" {
		return fmt.Errorf("%w: %s called as %q, gid %q, branch %q, subject %q", ErrForged, phase, c.Phase, c.GID, c.Branch, c.Subject)
	}
	if !fits(c.GID) || !fits(c.Branch) {
		return fmt.Errorf("%w: gid and branch id have at most %d bytes, of ASCII", ErrForged, maxID)
	}
	if !p.keys.Made(mac, c.parts()...) {
		return fmt.Errorf("%w: the MAC does not fit gid %q, branch %q of %s, subject %q and the request's %d bytes", ErrForged,
			c.GID, c.Branch, c.Service, c.Subject, len(c.Payload))
	}
	return failpoint.Hit(ctx, p.name+"/"+string(phase))
}

// maxID is the size of the barrier's columns. INSERT IGNORE would cut a longer value, and it would match the wrong row.
const maxID = 64

func fits(id string) bool {
	return len(id) <= maxID && !strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' })
}
