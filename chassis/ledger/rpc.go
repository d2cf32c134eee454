package ledger

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"google.golang.org/grpc"

	ledgerv1 "example.com/fourfold/api/ledger/v1"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/service"
)

// Server serves a Ledger to callers that hold a key of the branches. All others get 403.
type Server struct {
	ledgerv1.UnimplementedLedgerServer
	keys   mac.Keys
	ledger Ledger
}

// NewServer returns a server of ledger for calls signed with one of keys.
func NewServer(keys mac.Keys, ledger Ledger) *Server { return &Server{keys: keys, ledger: ledger} }

// patience bounds a call. It reads all rows, which may take longer than the service allows other calls.
const patience = time.Minute

// patient returns a context that outlives the service's time-out, but not the caller.
func patient(ctx context.Context) (context.Context, context.CancelFunc) {
	long, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	stop := context.AfterFunc(service.CallContext(ctx), cancel)
	return long, func() { stop(); cancel() }
}

// Check returns the results of the service's own checks.
func (s *Server) Check(ctx context.Context, req *ledgerv1.CheckRequest) (*ledgerv1.CheckReply, error) {
	if err := s.keys.CheckCall(ctx, ledgerv1.Ledger_Check_FullMethodName, req); err != nil {
		return nil, err
	}
	ctx, cancel := patient(ctx)
	defer cancel()
	checks, err := s.ledger.Check(ctx, time.Duration(req.GetOpenSeconds())*time.Second)
	if err != nil {
		return nil, err
	}
	reply := &ledgerv1.CheckReply{}
	for _, c := range checks {
		reply.Checks = append(reply.Checks, &ledgerv1.Check{Name: c.Name, Checked: c.Checked, Violations: c.Violations})
	}
	return reply, nil
}

// Digest returns the sum of the settled facts.
func (s *Server) Digest(ctx context.Context, req *ledgerv1.DigestRequest) (*ledgerv1.DigestReply, error) {
	if err := s.keys.CheckCall(ctx, ledgerv1.Ledger_Digest_FullMethodName, req); err != nil {
		return nil, err
	}
	ctx, cancel := patient(ctx)
	defer cancel()
	d, err := s.ledger.Digest(ctx)
	if err != nil {
		return nil, err
	}
	reply := &ledgerv1.DigestReply{Buckets: make([]*ledgerv1.Bucket, len(d))}
	for i, b := range d {
		reply.Buckets[i] = &ledgerv1.Bucket{Count: b.Count, Digest: b.Hash}
	}
	return reply, nil
}

// Facts returns the rows of the buckets asked for, or, when there are none, of the orders.
func (s *Server) Facts(ctx context.Context, req *ledgerv1.FactsRequest) (*ledgerv1.FactsReply, error) {
	if err := s.keys.CheckCall(ctx, ledgerv1.Ledger_Facts_FullMethodName, req); err != nil {
		return nil, err
	}
	ctx, cancel := patient(ctx)
	defer cancel()
	var facts []Fact
	var err error
	if len(req.GetBuckets()) > 0 {
		buckets := make([]int, len(req.GetBuckets()))
		for i, b := range req.GetBuckets() {
			buckets[i] = int(b)
		}
		facts, err = s.ledger.OfBuckets(ctx, buckets)
	} else {
		facts, err = s.ledger.OfSubjects(ctx, req.GetSubjects())
	}
	if err != nil {
		return nil, err
	}
	reply := &ledgerv1.FactsReply{}
	for _, f := range facts {
		reply.Facts = append(reply.Facts, &ledgerv1.Fact{
			Subject: f.Subject, Fact: f.Fact, Status: f.Status, Settled: f.Settled, AgeSeconds: int64(f.Age / time.Second),
		})
	}
	return reply, nil
}

// Client is the Ledger of another service.
type Client struct {
	keys  mac.Keys
	books ledgerv1.LedgerClient
}

// NewClient returns the Ledger of the service behind conn. Calls are signed with the first of keys.
func NewClient(keys mac.Keys, conn grpc.ClientConnInterface) *Client {
	return &Client{keys, ledgerv1.NewLedgerClient(conn)}
}

// Check implements Ledger.
func (c *Client) Check(ctx context.Context, open time.Duration) ([]Check, error) {
	req := &ledgerv1.CheckRequest{CallId: rand.Text(), OpenSeconds: int64(open / time.Second)}
	reply, err := c.books.Check(c.keys.Call(ctx, ledgerv1.Ledger_Check_FullMethodName, req), req)
	if err != nil {
		return nil, err
	}
	checks := make([]Check, len(reply.GetChecks()))
	for i, k := range reply.GetChecks() {
		checks[i] = Check{k.GetName(), k.GetChecked(), k.GetViolations()}
	}
	return checks, nil
}

// Digest implements Ledger.
func (c *Client) Digest(ctx context.Context) (*Digest, error) {
	req := &ledgerv1.DigestRequest{CallId: rand.Text()}
	reply, err := c.books.Digest(c.keys.Call(ctx, ledgerv1.Ledger_Digest_FullMethodName, req), req)
	if err != nil {
		return nil, err
	}
	if n := len(reply.GetBuckets()); n != Buckets {
		return nil, fmt.Errorf("the digest has %d buckets instead of %d: the service is of another version", n, Buckets)
	}
	var d Digest
	for i, b := range reply.GetBuckets() {
		d[i] = Sum{b.GetCount(), b.GetDigest()}
	}
	return &d, nil
}

// OfBuckets implements Ledger.
func (c *Client) OfBuckets(ctx context.Context, buckets []int) ([]Fact, error) {
	req := &ledgerv1.FactsRequest{}
	for _, b := range buckets {
		req.Buckets = append(req.Buckets, int32(b))
	}
	return c.facts(ctx, req)
}

// OfSubjects implements Ledger.
func (c *Client) OfSubjects(ctx context.Context, ids []string) ([]Fact, error) {
	return c.facts(ctx, &ledgerv1.FactsRequest{Subjects: ids})
}

// maxReply bounds a reply's size: many times what a caller asks for at once.
const maxReply = 64 << 20

func (c *Client) facts(ctx context.Context, req *ledgerv1.FactsRequest) ([]Fact, error) {
	req.CallId = rand.Text()
	reply, err := c.books.Facts(c.keys.Call(ctx, ledgerv1.Ledger_Facts_FullMethodName, req), req, grpc.MaxCallRecvMsgSize(maxReply))
	if err != nil {
		return nil, err
	}
	facts := make([]Fact, len(reply.GetFacts()))
	for i, f := range reply.GetFacts() {
		facts[i] = Fact{f.GetSubject(), f.GetFact(), f.GetStatus(), f.GetSettled(), time.Duration(f.GetAgeSeconds()) * time.Second}
	}
	return facts, nil
}
