package rpc

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	creditv1 "example.com/fourfold/api/credit/v1"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/page"
	"example.com/fourfold/credit/internal/account"
	"example.com/fourfold/credit/internal/mysql"
)

// Credits serves accounts and their entries.
type Credits struct {
	creditv1.UnimplementedCreditsServer
	store *mysql.Store
}

// NewCredits returns the service over store.
func NewCredits(store *mysql.Store) *Credits { return &Credits{store: store} }

// GetMyCredit returns the caller's account; all zeros when nothing has happened on it yet.
func (c *Credits) GetMyCredit(ctx context.Context, _ *creditv1.GetMyCreditRequest) (*creditv1.Account, error) {
	a, err := c.store.Account(ctx, identity.FromContext(ctx).MemberID)
	if err != nil {
		return nil, err
	}
	return protoAccount(a), nil
}

// ListMyEntries returns a page of the caller's entries, newest first.
func (c *Credits) ListMyEntries(ctx context.Context, req *creditv1.ListMyEntriesRequest) (*creditv1.ListMyEntriesReply, error) {
	memberID := identity.FromContext(ctx).MemberID
	list := page.Of("entries", memberID)
	after, err := list.After(req.GetPageToken())
	if err != nil {
		return nil, Error(fmt.Errorf("%w %w", account.ErrInvalid, err))
	}
	from, err := account.ParsePosition(after)
	if err != nil {
		return nil, Error(fmt.Errorf("page_token: %w", err))
	}
	size := page.Size(req.GetPageSize())
	entries, err := c.store.Entries(ctx, memberID, from, size+1)
	if err != nil {
		return nil, err
	}
	reply := &creditv1.ListMyEntriesReply{}
	reply.Entries, reply.NextPageToken = page.Cut(list, entries, size, func(e account.Entry) string { return e.Position().String() }, protoEntry)
	return reply, nil
}

// SetFrozen freezes or thaws an account. Credit does not know who is a member: it creates the account of an id that it has never seen, so that a
// member can be frozen before the first points come.
func (c *Credits) SetFrozen(ctx context.Context, req *creditv1.SetFrozenRequest) (*creditv1.Account, error) {
	if err := account.CheckID("id", req.GetId()); err != nil {
		return nil, Error(err)
	}
	a, err := c.store.SetFrozen(ctx, req.GetId(), req.GetFrozen())
	if err != nil {
		return nil, err
	}
	return protoAccount(a), nil
}

func protoAccount(a account.Account) *creditv1.Account {
	return &creditv1.Account{
		MemberId: a.MemberID, Credit: a.Credit, PrepareAddCredit: a.PrepareAdd, PrepareDeductCredit: a.PrepareDeduct, Frozen: a.Frozen,
	}
}

func protoEntry(e account.Entry) *creditv1.Entry {
	return &creditv1.Entry{
		Source: e.Source, Points: e.Points,
		// The proto's statuses have the domain's names.
		Status:    creditv1.Entry_Status(creditv1.Entry_Status_value[string(e.Status)]),
		CreatedAt: timestamppb.New(e.CreatedAt),
	}
}
