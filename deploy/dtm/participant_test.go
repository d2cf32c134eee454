package main

import (
	"encoding/json"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtm-labs/dtm/client/dtmgrpc/dtmgpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	encodingproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"
)

// participant is a branch that accepts everything. It records its calls.
type participant struct {
	addr  string
	takes time.Duration // each call
	mu    sync.Mutex
	seen  map[string]int
	gids  []string // of all calls
	ops   []string // the same calls' methods
	// together, if it is not nil, is done when as many calls are there as answer at the same time.
	together *sync.WaitGroup
	waits    int
}

// holds lets the first n calls wait for each other.
func (p *participant) holds(n int) {
	p.together = &sync.WaitGroup{}
	p.together.Add(n)
	p.waits = n
}

// newParticipant reserves an address. Until serve is called nobody listens there.
func newParticipant(t *testing.T) *participant {
	t.Helper()
	return &participant{addr: "127.0.0.1:" + freePort(t), seen: map[string]int{}}
}

// serve makes the participant answer until stop is called or the test ends.
func (p *participant) serve(t *testing.T, options ...grpc.ServerOption) (stop func()) {
	t.Helper()
	lis, err := net.Listen("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	// The coordinator's calls are plain protobuf under another name.
	options = append(options, grpc.ForceServerCodecV2(encoding.GetCodecV2(encodingproto.Name)), grpc.UnknownServiceHandler(p.handle))
	s := grpc.NewServer(options...)
	go func() { _ = s.Serve(lis) }()
	t.Cleanup(s.Stop)
	return s.Stop
}

func (p *participant) handle(_ any, stream grpc.ServerStream) error {
	msg := &emptypb.Empty{}
	if err := stream.RecvMsg(msg); err != nil {
		return err
	}
	method, _ := grpc.MethodFromServerStream(stream)
	md, _ := metadata.FromIncomingContext(stream.Context())
	p.mu.Lock()
	for _, gid := range md.Get("dtm-gid") {
		p.seen[method+" "+gid]++
		p.gids, p.ops = append(p.gids, gid), append(p.ops, method[strings.LastIndexByte(method, '/')+1:])
	}
	n := len(p.gids)
	p.mu.Unlock()
	if p.together != nil && n <= p.waits {
		p.together.Done()
		p.together.Wait()
	}
	time.Sleep(p.takes)
	return stream.SendMsg(msg)
}

// got returns how often op of gid was called.
func (p *participant) got(op, gid string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen["/test.Branch/"+op+" "+gid]
}

// called returns the gids of all calls, in their order.
func (p *participant) called() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.gids)
}

// order returns the methods that were called for gid, in their order.
func (p *participant) order(gid string) (ops []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, of := range p.gids {
		if of == gid {
			ops = append(ops, p.ops[i])
		}
	}
	return ops
}

// rejectAll takes the place of a participant that is away, so that the attempts to reach it can be seen: it closes every connection at once.
// stop frees the address.
func (p *participant) rejectAll(t *testing.T) (lastPause func() time.Duration, stop func()) {
	t.Helper()
	lis, err := net.Listen("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	var pause atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		last := time.Now()
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
			pause.Store(int64(time.Since(last)))
			last = time.Now()
		}
	}()
	stop = func() {
		_ = lis.Close()
		<-done
	}
	t.Cleanup(stop)
	return func() time.Duration { return time.Duration(pause.Load()) }, stop
}

// prepare opens a transaction with p as its only branch.
func prepare(t *testing.T, c *coordinator, p *participant, gid string, timeoutToFail int64) *dtmgpb.DtmRequest {
	t.Helper()
	req := request(gid, timeoutToFail, branch{"01", p.addr + "/test.Branch/Confirm", p.addr + "/test.Branch/Cancel", nil})
	if _, err := c.Prepare(within(t, 10*time.Second), req); err != nil {
		t.Fatal(err)
	}
	return req
}

// branch is one that a Prepare names.
type branch struct {
	id, confirm, cancel string // the addresses of its phases
	payload             []byte
}

// branch returns the branch id, whose phases are p's methods Confirm<id> and Cancel<id>.
func (p *participant) branch(id string) branch {
	return branch{id, p.addr + "/test.Branch/Confirm" + id, p.addr + "/test.Branch/Cancel" + id, nil}
}

// request returns the Prepare of a transaction with branches, or with one that needs no call.
func request(gid string, timeoutToFail int64, branches ...branch) *dtmgpb.DtmRequest {
	req := &dtmgpb.DtmRequest{Gid: gid, TransType: "tcc", TransOptions: &dtmgpb.DtmTransOptions{TimeoutToFail: timeoutToFail}}
	if len(branches) == 0 {
		branches = []branch{{id: "01"}}
	}
	var steps []map[string]string
	for _, b := range branches {
		steps = append(steps, map[string]string{"branch": b.id, "confirm": b.confirm, "cancel": b.cancel})
		req.BinPayloads = append(req.BinPayloads, b.payload)
	}
	text, err := json.Marshal(steps)
	if err != nil {
		panic(err)
	}
	req.Steps = string(text)
	return req
}

// submit submits the transaction that prepare opened.
func submit(t *testing.T, c *coordinator, req *dtmgpb.DtmRequest) {
	t.Helper()
	if _, err := c.Submit(t.Context(), req); err != nil {
		t.Fatal(err)
	}
}
