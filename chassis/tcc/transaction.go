package tcc

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/dtm-labs/client/dtmgrpc/dtmgpb"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// Branch is one participant of a transaction.
type Branch struct {
	// ID is unique in the transaction: "01", "02" …
	ID string
	// Addr is host:port, or several of that with commas between, at which the coordinator reaches the participant.
	Addr string
	// Try, Confirm and Cancel are full names of methods of one service: /package.Service/Method. Try is empty for a branch that is tried under
	// LocalTryContext only.
	Try, Confirm, Cancel string
	// Payload is the request of all three.
	Payload proto.Message
}

// Transaction is one open global transaction.
type Transaction struct {
	c       *Coordinator
	gid     string
	request *dtmgpb.DtmRequest
	// branches are the branches by id.
	branches map[string]prepared
}

// prepared is a branch with the call of its Try.
type prepared struct {
	Branch
	try Call
}

// Prepare opens the transaction gid about subject, of branches: whatever happens, all of them will be confirmed, or all canceled, the first one
// when the others are. Unless it is submitted within timeoutToFail, a whole number of seconds, the coordinator cancels it. The gid must be new:
// a second Prepare of the same gid would succeed too.
// ctx's span is the parent of every Confirm and Cancel, however late and often they are tried: the coordinator keeps it with the transaction.
//
// The coordinator also keeps a MAC for each branch, which is good for its Confirm and its Cancel with this payload and for nothing else. Prepare
// refuses branches that the coordinator could not keep, or that no participant would accept, without asking it. It never returns a nil
// Transaction.
func (c *Coordinator) Prepare(ctx context.Context, gid, subject string, timeoutToFail time.Duration, branches ...Branch) (*Transaction, error) {
	t := &Transaction{c: c, gid: gid, branches: map[string]prepared{}}
	kept := map[string]string{}
	otel.GetTextMapPropagator().Inject(ctx, propagation.MapCarrier(kept))
	options := &dtmgpb.DtmTransOptions{
		// The Confirms run after Submit has answered, outside the shopper's deadline.
		WaitResult:    false,
		TimeoutToFail: int64(timeoutToFail / time.Second),
		BranchHeaders: kept,
	}
	t.request = &dtmgpb.DtmRequest{Gid: gid, TransType: "tcc", TransOptions: options, Steps: "null"}
	opening := &dtmgpb.DtmRequest{Gid: gid, TransType: "tcc", TransOptions: options}
	var steps []map[string]string
	for _, b := range branches {
		try, err := t.add(b, subject)
		if err != nil {
			return t, fmt.Errorf("branch %q of %s: %w", b.ID, gid, err)
		}
		decided := try
		decided.Phase = Confirm
		kept[macHeader(b.ID)] = c.keys.Sign(decided.parts()...)
		steps = append(steps, map[string]string{"branch": b.ID, "confirm": b.Addr + b.Confirm, "cancel": b.Addr + b.Cancel})
		opening.BinPayloads = append(opening.BinPayloads, try.Payload)
	}
	if n := optionsLength(options); n > maxOptions {
		return t, fmt.Errorf("%s has %d branches, whose headers take %d characters of the coordinator's log; it has %d for them",
			gid, len(branches), n, maxOptions)
	}
	text, err := json.Marshal(steps)
	if err != nil {
		return t, err
	}
	opening.Steps = string(text)
	var header metadata.MD
	if _, err := c.dtm.Prepare(ctx, opening, grpc.Header(&header)); err != nil {
		return t, err
	}
	if kept := header.Get("branches"); !slices.Equal(kept, []string{strconv.Itoa(len(branches))}) {
		return t, fmt.Errorf("the coordinator has kept %v of %d branches of %s: it must be a patched coordinator of this version or a later one", kept,
			len(branches), gid)
	}
	return t, nil
}

// branchID is what a branch may be called: the id is a part of a header's name.
var branchID = regexp.MustCompile(`^[0-9a-z]{1,16}$`)

// add adds b to the transaction's branches and returns its Try.
func (t *Transaction) add(b Branch, subject string) (Call, error) {
	service := serviceOf(b.Confirm)
	for _, method := range []string{b.Try, b.Confirm, b.Cancel} {
		if of := serviceOf(method); of != service && method != "" {
			return Call{}, fmt.Errorf("a branch is one service: %s is none of %s", method, service)
		}
	}
	if _, taken := t.branches[b.ID]; taken || !branchID.MatchString(b.ID) {
		return Call{}, fmt.Errorf("the id is taken, or does not read %s", branchID)
	}
	payload, err := proto.Marshal(b.Payload)
	if err != nil {
		return Call{}, err
	}
	try := Call{GID: t.gid, Branch: b.ID, Phase: Try, Service: service, Subject: subject, Payload: payload}
	t.branches[b.ID] = prepared{b, try}
	return try, nil
}

// maxOptions is the size of the coordinator's column trans_global.options, in characters.
const maxOptions = 1024

// optionsLength returns how many characters the coordinator writes into that column.
func optionsLength(o *dtmgpb.DtmTransOptions) int {
	text, _ := json.Marshal(struct { // as dtmimp.TransOptions has it
		TimeoutToFail int64             `json:"timeout_to_fail,omitempty"`
		BranchHeaders map[string]string `json:"branch_headers,omitempty"`
		Concurrent    bool              `json:"concurrent"`
	}{o.GetTimeoutToFail(), o.GetBranchHeaders(), false})
	return utf8.RuneCount(text)
}

// Try calls the Try of a branch over conn.
func (t *Transaction) Try(ctx context.Context, conn grpc.ClientConnInterface, branch string) error {
	b, ok := t.branches[branch]
	if !ok {
		return fmt.Errorf("branch %q was not prepared", branch)
	}
	return b.try.send(ctx, conn, b.Branch.Try, t.c.keys)
}

// LocalTryContext returns the context for a call of a branch's Try in this process.
func (t *Transaction) LocalTryContext(ctx context.Context, branch string) context.Context {
	try := t.branches[branch].try
	return LocalContext(ctx, try.Service, try.Payload, try.Headers(t.c.keys))
}

// Submit asks to confirm all branches. It may be repeated, even while another Submit is under way: the coordinator (deploy/dtm; not DTM's own
// server, which would lose the Confirms) confirms once and gives all the same answer. nil means that the transaction is decided: every branch
// will be confirmed. An error for which Refused returns true is final: the coordinator cancels the transaction, or does not know it. After any
// other error the transaction may or may not be decided.
func (t *Transaction) Submit(ctx context.Context) error {
	_, err := t.c.dtm.Submit(ctx, t.request)
	return err
}

// Abort asks to cancel all branches. The coordinator keeps reason, cut to 200 bytes, for people to read. The answer is only a hint: if the Abort
// is lost, the time-out cancels the transaction.
func (t *Transaction) Abort(ctx context.Context, reason string) error {
	req := proto.CloneOf(t.request)
	req.RollbackReason = reason[:min(len(reason), 200)]
	_, err := t.c.dtm.Abort(ctx, req)
	return err
}
