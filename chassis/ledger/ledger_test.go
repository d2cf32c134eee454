package ledger_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	ledgerv1 "example.com/fourfold/api/ledger/v1"
	"example.com/fourfold/chassis/ledger"
	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/service"
)

// shelf is a Ledger of fixed facts.
type shelf []ledger.Fact

func (s shelf) Check(_ context.Context, open time.Duration) ([]ledger.Check, error) {
	c := ledger.Check{Name: "open", Checked: 7}
	c.Violate("%s", open)
	return []ledger.Check{c, {Name: "fine"}}, nil
}

func (s shelf) Digest(context.Context) (*ledger.Digest, error) {
	var d ledger.Digest
	for _, f := range s {
		d.Add(f.Subject, f.Fact)
	}
	return &d, nil
}

func (s shelf) OfBuckets(_ context.Context, buckets []int) (found []ledger.Fact, _ error) {
	for _, f := range s {
		for _, b := range buckets {
			if ledger.Bucket(f.Subject) == b {
				found = append(found, f)
			}
		}
	}
	return found, nil
}

func (s shelf) OfSubjects(_ context.Context, ids []string) (found []ledger.Fact, _ error) {
	for _, f := range s {
		for _, id := range ids {
			if f.Subject == id {
				found = append(found, f)
			}
		}
	}
	return found, nil
}

var facts = shelf{
	{Subject: "o-1", Fact: "a|2", Status: "DEDUCTED", Settled: true, Age: 3 * time.Second},
	{Subject: "o-2", Fact: "b|1", Status: "FROZEN"},
}

func keys(t *testing.T, text string) mac.Keys {
	t.Helper()
	k, err := mac.Parse(text)
	require.NoError(t, err)
	return k
}

// serve returns a connection to a server of facts.
func serve(t *testing.T, k mac.Keys) *grpc.ClientConn {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	ledgerv1.RegisterLedgerServer(server, ledger.NewServer(k, facts))
	go func() { _ = server.Serve(lis) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// TestSameBooksBehindTheWire: a Client is the Ledger that its Server serves.
func TestSameBooksBehindTheWire(t *testing.T) {
	t.Parallel()
	k := keys(t, "k1:00112233445566778899aabbccddeeff")
	client := ledger.NewClient(k, serve(t, k))
	ctx := t.Context()

	checks, err := client.Check(ctx, 90*time.Second)
	require.NoError(t, err)
	assert.Equal(t, []ledger.Check{{Name: "open", Checked: 7, Violations: []string{"1m30s"}}, {Name: "fine"}}, checks)
	want, _ := facts.Digest(ctx)
	digest, err := client.Digest(ctx)
	require.NoError(t, err)
	assert.Equal(t, want, digest)
	assert.EqualValues(t, 2, digest.Count())
	got, err := client.OfBuckets(ctx, []int{ledger.Bucket("o-2"), ledger.Bucket("o-1")})
	require.NoError(t, err)
	assert.Equal(t, []ledger.Fact(facts), got)
	got, err = client.OfSubjects(ctx, []string{"o-1"})
	require.NoError(t, err)
	assert.Equal(t, []ledger.Fact{facts[0]}, got)
}

// TestForged: a caller without the key reads nothing, nor does one that saw another call's signature.
func TestForged(t *testing.T) {
	t.Parallel()
	k := keys(t, "k1:00112233445566778899aabbccddeeff")
	conn := serve(t, k)
	stranger := ledger.NewClient(keys(t, "k1:ffeeddccbbaa99887766554433221100"), conn)
	_, err := stranger.Check(t.Context(), time.Minute)
	assert.Equal(t, 403, kerrors.Code(err), "%v", err)
	_, err = stranger.Digest(t.Context())
	assert.Equal(t, 403, kerrors.Code(err), "%v", err)
	_, err = stranger.OfSubjects(t.Context(), []string{"o-1"})
	assert.Equal(t, 403, kerrors.Code(err), "%v", err)

	req := &ledgerv1.CheckRequest{CallId: "call-1", OpenSeconds: 1}
	seen := metadata.NewOutgoingContext(t.Context(), metadata.New(k.CallHeaders(ledgerv1.Ledger_Check_FullMethodName, req)))
	raw := ledgerv1.NewLedgerClient(conn)
	_, err = raw.Check(seen, req)
	require.NoError(t, err)
	_, err = raw.Check(seen, &ledgerv1.CheckRequest{CallId: "call-1", OpenSeconds: 2})
	assert.Equal(t, 403, kerrors.Code(err), "another request: %v", err)
	_, err = raw.Check(seen, &ledgerv1.CheckRequest{CallId: "call-2", OpenSeconds: 1})
	assert.Equal(t, 403, kerrors.Code(err), "another call: %v", err)
	_, err = raw.Digest(seen, &ledgerv1.DigestRequest{CallId: "call-1"})
	assert.Equal(t, 403, kerrors.Code(err), "another method: %v", err)
}

// slow is a Ledger that answers when its context ends.
type slow struct {
	shelf
	ended chan error
}

func (s slow) Digest(ctx context.Context) (*ledger.Digest, error) {
	select {
	case <-ctx.Done():
		s.ended <- ctx.Err()
		return nil, ctx.Err()
	case <-time.After(300 * time.Millisecond):
		return s.shelf.Digest(ctx)
	}
}

// TestPatience: a reading outlives the time-out of the service, but not its caller, even one that leaves after the time-out.
func TestPatience(t *testing.T) {
	t.Parallel()
	k := keys(t, "k1:00112233445566778899aabbccddeeff")
	late := slow{facts, make(chan error, 1)}
	server := ledger.NewServer(k, late)
	req := &ledgerv1.DigestRequest{CallId: "c"}
	// call is a call whose caller leaves after a while, to a service whose time-out is a millisecond.
	call := func(leaves time.Duration) (*ledgerv1.DigestReply, error) {
		signed := metadata.NewIncomingContext(t.Context(), metadata.New(k.CallHeaders(ledgerv1.Ledger_Digest_FullMethodName, req)))
		caller, leave := context.WithTimeout(signed, leaves)
		defer leave()
		timed, cancel := context.WithTimeout(service.WithCallContext(caller), time.Millisecond)
		defer cancel()
		return server.Digest(timed, req)
	}
	reply, err := call(time.Minute)
	require.NoError(t, err)
	assert.Len(t, reply.GetBuckets(), ledger.Buckets)

	_, err = call(50 * time.Millisecond)
	require.ErrorIs(t, err, context.Canceled)
	assert.ErrorIs(t, <-late.ended, context.Canceled)
}

// TestDigest: the order of facts does not matter, everything else does.
func TestDigest(t *testing.T) {
	t.Parallel()
	sum := func(facts ...string) *ledger.Digest {
		var d ledger.Digest
		for i := 0; i < len(facts); i += 2 {
			d.Add(facts[i], facts[i+1])
		}
		return &d
	}
	assert.Equal(t, sum("o-1", "a|2", "o-2", "b|1"), sum("o-2", "b|1", "o-1", "a|2"))
	assert.Empty(t, sum("o-1", "10").Differing(sum("o-1", "10")))
	assert.Equal(t, []int{ledger.Bucket("o-1")}, sum("o-1", "10").Differing(sum("o-1", "11")), "another fact")
	assert.Equal(t, []int{ledger.Bucket("o-1")}, sum("o-1", "10").Differing(sum()), "none")
	assert.Equal(t, []int{ledger.Bucket("o-1")}, sum("o-1", "a", "o-1", "a").Differing(sum()), "twice is not none")

	merged := sum("o-1", "a|2")
	merged.Merge(sum("o-2", "b|1"))
	assert.Equal(t, sum("o-1", "a|2", "o-2", "b|1"), merged)

	// Two orders of a bucket exchange what they have. A sum of hashes that are linear in their bits, as CRC32 is, would stay the same.
	first, second := "order-0", ""
	for i := 1; second == ""; i++ {
		if id := fmt.Sprintf("order-%d", i); ledger.Bucket(id) == ledger.Bucket(first) {
			second = id
		}
	}
	assert.NotEmpty(t, sum(first, "a|2", second, "a|3").Differing(sum(first, "a|3", second, "a|2")))
}

func TestViolationsAreBounded(t *testing.T) {
	t.Parallel()
	var c ledger.Check
	for i := range 2 * ledger.MaxViolations {
		assert.Equal(t, i >= ledger.MaxViolations, c.Full())
		c.Violate("row %d", i)
	}
	assert.Len(t, c.Violations, ledger.MaxViolations)
}
