package tcc

import (
	"context"
	"database/sql"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	branchv1 "example.com/fourfold/api/branch/v1"
	"example.com/fourfold/chassis/mac"
)

// State is how far a branch has come, as the barrier of its service has it.
type State string

// The states. A branch that was canceled before any Try is Canceled too.
const (
	None      State = "NONE"
	Tried     State = "TRIED"
	Confirmed State = "CONFIRMED"
	Canceled  State = "CANCELED"
)

// Barrier answers the holders of a branch key about the barrier in one database.
type Barrier struct {
	branchv1.UnimplementedBarrierServer
	keys mac.Keys
	db   *sql.DB
}

// NewBarrier returns the server of the barrier in db.
func NewBarrier(keys mac.Keys, db *sql.DB) *Barrier { return &Barrier{keys: keys, db: db} }

// GetBranch returns how far a branch has come. The barrier's rows are written with the effects, so they say what had its effect.
func (b *Barrier) GetBranch(ctx context.Context, req *branchv1.GetBranchRequest) (*branchv1.Branch, error) {
	err := b.keys.CheckCall(ctx, branchv1.Barrier_GetBranch_FullMethodName, req)
	if err != nil {
		return nil, err
	}
	state := branchv1.Branch_NONE
	rows, err := b.db.QueryContext(ctx, "SELECT op, reason FROM barrier WHERE gid = ? AND branch_id = ?", req.GetGid(), req.GetBranchId())
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var op, reason Phase
		if err := rows.Scan(&op, &reason); err != nil {
			return nil, err
		}
		switch {
		case op == Confirm:
			state = branchv1.Branch_CONFIRMED
		case op == Cancel, reason == Cancel: // a Cancel that came first has the row of its Try
			state = branchv1.Branch_CANCELED
		case state == branchv1.Branch_NONE:
			state = branchv1.Branch_TRIED
		}
	}
	return &branchv1.Branch{State: state}, rows.Err()
}

// Call calls a phase of the branch branchID by hand, as the coordinator would: method with request, over conn, in the transaction gid about
// subject. The barrier lets the phase have its effect once, whoever else makes the same call.
func (c *Coordinator) Call(ctx context.Context, conn grpc.ClientConnInterface, gid, branchID, subject string, phase Phase, method string,
	request proto.Message) error {
	payload, err := proto.Marshal(request)
	if err != nil {
		return err
	}
	call := Call{GID: gid, Branch: branchID, Phase: phase, Service: serviceOf(method), Subject: subject, Payload: payload}
	return call.send(ctx, conn, method, c.keys)
}

// State asks the service at conn how far its branch branchID of gid has come.
func (c *Coordinator) State(ctx context.Context, conn grpc.ClientConnInterface, gid, branchID string) (State, error) {
	req := &branchv1.GetBranchRequest{Gid: gid, BranchId: branchID}
	b, err := branchv1.NewBarrierClient(conn).GetBranch(c.keys.Call(ctx, branchv1.Barrier_GetBranch_FullMethodName, req), req)
	return State(b.GetState().String()), err
}
