package service_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/emptypb"

	branchv1 "example.com/fourfold/api/branch/v1"
	creditv1 "example.com/fourfold/api/credit/v1"
	idempotencyv1 "example.com/fourfold/api/idempotency/v1"
	inventoryv1 "example.com/fourfold/api/inventory/v1"
	ledgerv1 "example.com/fourfold/api/ledger/v1"
	memberv1 "example.com/fourfold/api/member/v1"
	mqv1 "example.com/fourfold/api/mq/v1"
	notifyv1 "example.com/fourfold/api/notify/v1"
	orderv1 "example.com/fourfold/api/order/v1"
	wmsv1 "example.com/fourfold/api/wms/v1"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/service/servicetest"
)

// one returns a service with one method, as a server describes itself.
func one(name, method string) map[string]grpc.ServiceInfo {
	return map[string]grpc.ServiceInfo{name: {Methods: []grpc.MethodInfo{{Name: method}}}}
}

// TestEveryRPCSaysWhatASecondCallDoes goes through every RPC of every proto of ours: it reads only, or leads to one state, or needs an
// Idempotency-Key. Those that need one are listed here.
func TestEveryRPCSaysWhatASecondCallDoes(t *testing.T) {
	t.Parallel()
	files := []protoreflect.FileDescriptor{
		branchv1.File_branch_v1_branch_proto, creditv1.File_credit_v1_credit_proto, inventoryv1.File_inventory_v1_inventory_proto,
		ledgerv1.File_ledger_v1_ledger_proto, memberv1.File_member_v1_member_proto, memberv1.File_member_v1_endings_proto,
		mqv1.File_mq_v1_mq_proto, mqv1.File_mq_v1_sent_proto,
		notifyv1.File_notify_v1_notify_proto, orderv1.File_order_v1_order_proto, wmsv1.File_wms_v1_wms_proto,
	}
	seen, keyed := 0, []string{}
	for _, file := range files {
		for i := range file.Services().Len() {
			s := file.Services().Get(i)
			for j := range s.Methods().Len() {
				seen++
				method := string(s.Methods().Get(j).Name())
				require.NoError(t, service.CheckRepetitions(one(string(s.FullName()), method)))
				if service.NeedsKey("/" + string(s.FullName()) + "/" + method) {
					keyed = append(keyed, method)
				}
			}
		}
	}
	assert.Equal(t, []string{"ReceiveStock", "CreateOrder", "PayOrder"}, keyed)

	protos, err := filepath.Glob("../../api/*/v1/*.proto")
	require.NoError(t, err)
	written := 0
	for _, name := range protos {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		written += len(regexp.MustCompile(`(?m)^  rpc `).FindAll(text, -1))
	}
	assert.Positive(t, written)
	assert.Equal(t, written, seen, "there is a proto whose RPCs were not looked at: add it")
}

// stated registers the service repeat.<name>.S, whose methods have these options.
func stated(t *testing.T, name string, methods map[string]*descriptorpb.MethodOptions) string {
	t.Helper()
	s := &descriptorpb.ServiceDescriptorProto{Name: proto.String("S")}
	for method, options := range methods {
		s.Method = append(s.Method, &descriptorpb.MethodDescriptorProto{
			Name: proto.String(method), Options: options,
			InputType: proto.String(".google.protobuf.Empty"), OutputType: proto.String(".google.protobuf.Empty"),
		})
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("repeat/" + name + ".proto"), Package: proto.String("repeat." + name), Syntax: proto.String("proto3"),
		Dependency: []string{emptypb.File_google_protobuf_empty_proto.Path()}, Service: []*descriptorpb.ServiceDescriptorProto{s},
	}, protoregistry.GlobalFiles)
	require.NoError(t, err)
	require.NoError(t, protoregistry.GlobalFiles.RegisterFile(file))
	return "repeat." + name + ".S"
}

func TestCheckRepetitions(t *testing.T) {
	t.Parallel()
	key := func(o *descriptorpb.MethodOptions) *descriptorpb.MethodOptions {
		proto.SetExtension(o, idempotencyv1.E_Key, true)
		return o
	}
	level := func(l descriptorpb.MethodOptions_IdempotencyLevel) *descriptorpb.MethodOptions {
		return &descriptorpb.MethodOptions{IdempotencyLevel: &l}
	}
	name := stated(t, "checked", map[string]*descriptorpb.MethodOptions{
		"Reads": level(descriptorpb.MethodOptions_NO_SIDE_EFFECTS), "Settles": level(descriptorpb.MethodOptions_IDEMPOTENT),
		"Adds": key(&descriptorpb.MethodOptions{}), "Silent": {}, "Unknown": level(descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN),
		"Both": key(level(descriptorpb.MethodOptions_IDEMPOTENT)),
	})
	for method, want := range map[string]string{
		"Reads": "", "Settles": "", "Adds": "",
		"Silent": "does not say", "Unknown": "does not say", "Absent": "does not say", "Both": "which?",
	} {
		err := service.CheckRepetitions(one(name, method))
		if want == "" {
			assert.NoError(t, err, method)
		} else {
			assert.ErrorContains(t, err, want, method)
		}
	}
	assert.ErrorContains(t, service.CheckRepetitions(one("nobody.v1.Knows", "It")), "does not say")
	assert.NoError(t, service.CheckRepetitions(one("grpc.health.v1.Health", "Check")), "the frame's own")
	assert.True(t, service.NeedsKey("/"+name+"/Adds"))
	for _, operation := range []string{"/" + name + "/Reads", "/" + name, "/nobody.v1.Knows/It", ""} {
		assert.False(t, service.NeedsKey(operation), operation)
	}
}

// TestNoStartWithoutWord: a service with a method that says nothing of its repetition does not start.
func TestNoStartWithoutWord(t *testing.T) {
	t.Parallel()
	var cfg service.Config
	cfg.GRPC.Addr, cfg.Admin.Addr, cfg.Log.Level = "127.0.0.1:0", "127.0.0.1:0", "error"
	cfg.IdentityKeys, _ = servicetest.Keys(t)
	s, err := service.New("shop", cfg)
	require.NoError(t, err)
	s.GRPC.RegisterService(&grpc.ServiceDesc{
		ServiceName: stated(t, "started", map[string]*descriptorpb.MethodOptions{"Silent": {}}), HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Silent"}},
	}, nil)
	require.ErrorContains(t, s.Run(t.Context()), "repeat.started.S/Silent does not say in its proto what a second call does")
}
