// Command sample pays orders as DTM's examples do (examples/grpc_tcc.go and busi of dtm-labs/dtm-examples): a global transaction that registers
// and tries one branch after another, and participants that make each phase's changes under DTM's barrier. The benchmark compares our payment
// with it. One thing is added: the answer waits for the Confirms.
//
// Its environment: DTM_ADDR is the coordinator, DSN the database server, PAYMENTS_ADDR where payments are asked for, and ORDER_ADDR,
// INVENTORY_ADDR, CREDIT_ADDR and WMS_ADDR where the participants listen, a server each.
package main

import (
	"context"
	"database/sql"
	"log"
	"net"
	"os"
	"strings"

	"github.com/dtm-labs/dtm/client/dtmgrpc"
	_ "github.com/go-sql-driver/mysql"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"
)

func main() {
	serve("PAYMENTS", service("sample.Payments", map[string]handler{"Pay": pay}))
	for _, p := range participants {
		db, err := sql.Open("mysql", os.Getenv("DSN"))
		if err != nil {
			log.Fatal(err)
		}
		serve(strings.ToUpper(p.name), service("sample."+p.name, map[string]handler{"Try": p.call(db), "Confirm": p.call(db), "Cancel": p.call(db)}))
	}
	select {}
}

// handler answers a call about a payment: its order, member and sku.
type handler func(ctx context.Context, payment *structpb.Struct) error

// pay is the global transaction of a payment. Order is first, so DTM confirms it last.
func pay(ctx context.Context, payment *structpb.Struct) error {
	dtm := os.Getenv("DTM_ADDR")
	custom := func(t *dtmgrpc.TccGrpc) { t.Context, t.WaitResult = ctx, true }
	return dtmgrpc.TccGlobalTransaction2(dtm, dtmgrpc.MustGenGid(dtm), custom, func(t *dtmgrpc.TccGrpc) error {
		for _, p := range participants {
			at := os.Getenv(strings.ToUpper(p.name)+"_ADDR") + "/sample." + p.name
			if err := t.CallBranch(payment, at+"/Try", at+"/Confirm", at+"/Cancel", &emptypb.Empty{}); err != nil {
				return err
			}
		}
		return nil
	})
}

// call makes the changes of the phase that DTM's metadata names, once, in a local transaction with the barrier's row.
func (p participant) call(db *sql.DB) handler {
	return func(ctx context.Context, in *structpb.Struct) error {
		barrier, err := dtmgrpc.BarrierFromGrpc(ctx)
		if err != nil {
			return err
		}
		barrier.BarrierTableName = "bench_" + p.name + ".barrier"
		of := payment{gid: barrier.Gid, order: in.Fields["order"].GetStringValue(), member: in.Fields["member"].GetStringValue(),
			sku: in.Fields["sku"].GetStringValue()}
		return barrier.CallWithDB(db, func(tx *sql.Tx) error {
			for _, c := range p.changes[barrier.Op](of) {
				if err := c.make(tx); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// service describes a gRPC service whose methods take a payment and answer nothing.
func service(name string, methods map[string]handler) *grpc.ServiceDesc {
	desc := &grpc.ServiceDesc{ServiceName: name, HandlerType: (*any)(nil)}
	for method, handle := range methods {
		desc.Methods = append(desc.Methods, grpc.MethodDesc{MethodName: method,
			Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				in := &structpb.Struct{}
				if err := decode(in); err != nil {
					return nil, err
				}
				return &emptypb.Empty{}, handle(ctx, in)
			}})
	}
	return desc
}

// serve begins to serve at the address of name.
func serve(name string, desc *grpc.ServiceDesc) {
	listener, err := net.Listen("tcp", os.Getenv(name+"_ADDR"))
	if err != nil {
		log.Fatal(err)
	}
	s := grpc.NewServer()
	s.RegisterService(desc, nil)
	go func() { log.Fatal(s.Serve(listener)) }()
}
