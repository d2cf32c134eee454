package main

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	encodingproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"
)

// TestOptionsOfBranches: the branch headers of a transaction go into a column of 1,024 characters, in the form that chassis/tcc counts in
// advance. What fits is kept whole and goes with every Confirm, beside the bytes that were prepared; one character more is refused.
func TestOptionsOfBranches(t *testing.T) {
	t.Parallel()
	c := start(t, emptyDatabase(t, mariadb)...)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	type call struct {
		headers metadata.MD
		payload []byte
	}
	calls := make(chan call, 16)
	s := grpc.NewServer(grpc.ForceServerCodecV2(encoding.GetCodecV2(encodingproto.Name)), grpc.UnknownServiceHandler(
		func(_ any, stream grpc.ServerStream) error {
			msg := &emptypb.Empty{}
			if err := stream.RecvMsg(msg); err != nil {
				return err
			}
			md, _ := metadata.FromIncomingContext(stream.Context())
			calls <- call{md, msg.ProtoReflect().GetUnknown()}
			return stream.SendMsg(&emptypb.Empty{})
		}))
	go func() { _ = s.Serve(lis) }()
	t.Cleanup(s.Stop)

	headers := map[string]string{"traceparent": "00-" + strings.Repeat("a", 32) + "-" + strings.Repeat("b", 16) + "-01"}
	for i := range 8 {
		headers[fmt.Sprintf("x-branch-mac-%02d", i+1)] = fmt.Sprintf("a-long-key-id-16.%043d", i)
	}
	options := func() string {
		text, err := json.Marshal(headers)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`{"timeout_to_fail":8,"branch_headers":%s,"concurrent":false}`, text)
	}
	if len(options()) > 1000 {
		t.Fatalf("eight branches take %d characters", len(options()))
	}
	headers["x"] = ""
	headers["x"] = strings.Repeat("x", 1024-len(options()))
	full := options()
	payload := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "order-1")
	told := (&participant{addr: lis.Addr().String()}).branch("01")
	told.payload = payload
	req := request("full", 8, told)
	req.TransOptions.BranchHeaders = headers
	ctx := within(t, 20*time.Second)
	if _, err := c.Prepare(ctx, req); err != nil {
		t.Fatal(err)
	}
	_, body, err := c.call("GET", "/api/dtmsvr/query?gid=full", nil)
	if err != nil {
		t.Fatal(err)
	}
	var reply struct{ Transaction struct{ Options string } }
	if err := json.Unmarshal(body, &reply); err != nil {
		t.Fatal(err)
	}
	if reply.Transaction.Options != full {
		t.Errorf("the log has\n%s\nwant\n%s", reply.Transaction.Options, full)
	}
	submit(t, c, req)
	select {
	case got := <-calls:
		for name, value := range headers {
			// The coordinator's own span is the parent of the call.
			if strings.Join(got.headers.Get(name), ",") != value && name != "traceparent" {
				t.Errorf("%s came as %q, want %q", name, got.headers.Get(name), value)
			}
		}
		if string(got.payload) != string(payload) {
			t.Errorf("the payload came as %x, want %x", got.payload, payload)
		}
	case <-ctx.Done():
		t.Fatal("no Confirm came")
	}

	headers["x"] += "x"
	req = request("more", 8)
	req.TransOptions.BranchHeaders = headers
	if _, err := c.Prepare(ctx, req); err == nil {
		t.Error("the coordinator accepts more than its column holds")
	}
	if status := c.status("more"); status != "unknown" {
		t.Errorf("what was refused reads %q", status)
	}
}
