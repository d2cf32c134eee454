package identity_test

import (
	"context"
	"errors"
	"testing"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	kgrpc "github.com/go-kratos/kratos/v2/transport/grpc"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	accessv1 "example.com/fourfold/api/access/v1"
	creditv1 "example.com/fourfold/api/credit/v1"
	inventoryv1 "example.com/fourfold/api/inventory/v1"
	memberv1 "example.com/fourfold/api/member/v1"
	orderv1 "example.com/fourfold/api/order/v1"
	wmsv1 "example.com/fourfold/api/wms/v1"
	"example.com/fourfold/chassis/identity"
)

// members answers who called.
type members struct {
	memberv1.UnimplementedMembersServer
}

func (members) GetMe(ctx context.Context, _ *memberv1.GetMeRequest) (*memberv1.Member, error) {
	c := identity.FromContext(ctx)
	return &memberv1.Member{MemberId: c.MemberID, Name: string(c.Role)}, nil
}

// unnamed is a service that no proto describes, so that no level can be found.
var unnamed = grpc.ServiceDesc{
	ServiceName: "test.v1.Unnamed",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Call",
		Handler: func(_ any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
			req := new(emptypb.Empty)
			if err := decode(req); err != nil {
				return nil, err
			}
			return interceptor(ctx, req, &grpc.UnaryServerInfo{FullMethod: "/test.v1.Unnamed/Call"},
				func(context.Context, any) (any, error) { return nil, status.Error(codes.Unimplemented, "reached") })
		},
	}},
}

// serve starts a guarded server with services of every level and returns a connection to it.
func serve(t *testing.T, v *identity.Verifier) *grpc.ClientConn {
	t.Helper()
	srv := kgrpc.NewServer(kgrpc.Address("127.0.0.1:0"), kgrpc.Middleware(identity.Guard(v)))
	inventoryv1.RegisterCatalogueServer(srv, inventoryv1.UnimplementedCatalogueServer{})
	inventoryv1.RegisterStockFreezeServer(srv, inventoryv1.UnimplementedStockFreezeServer{})
	memberv1.RegisterMembersServer(srv, members{})
	srv.RegisterService(&unnamed, nil)
	endpoint, err := srv.Endpoint()
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- srv.Start(context.Background()) }()
	t.Cleanup(func() {
		assert.NoError(t, srv.Stop(context.Background()))
		assert.NoError(t, <-done)
	})
	conn, err := grpc.NewClient(endpoint.Host, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestGuardHoldsEachMethodToItsLevel(t *testing.T) {
	t.Parallel()
	signer, verifier := pair(t)
	conn := serve(t, verifier)
	header := func(role identity.Role, age time.Duration) string {
		token, err := signer.Sign(identity.Caller{MemberID: "m-1", Role: role}, time.Now().Add(-age), time.Hour)
		require.NoError(t, err)
		return "Bearer " + token
	}
	nobody, shopper, operator := "", header(accessv1.Shopper, 0), header(accessv1.Operator, 0)
	expired := header(accessv1.Operator, 2*time.Hour)
	notBearer := operator[len("Bearer "):]

	catalogue, freeze := inventoryv1.NewCatalogueClient(conn), inventoryv1.NewStockFreezeClient(conn)
	calls := map[string]func(context.Context) error{
		"public": func(ctx context.Context) error {
			_, err := catalogue.GetProduct(ctx, &inventoryv1.GetProductRequest{})
			return err
		},
		"member": func(ctx context.Context) error {
			_, err := memberv1.NewMembersClient(conn).GetMe(ctx, &memberv1.GetMeRequest{})
			return err
		},
		"operator": func(ctx context.Context) error {
			_, err := catalogue.CreateProduct(ctx, &inventoryv1.CreateProductRequest{})
			return err
		},
		"branch": func(ctx context.Context) error {
			_, err := freeze.Try(ctx, &inventoryv1.StockFreezeRequest{})
			return err
		},
		"unspecified": func(ctx context.Context) error {
			return conn.Invoke(ctx, "/test.v1.Unnamed/Call", &emptypb.Empty{}, &emptypb.Empty{})
		},
		"health": func(ctx context.Context) error {
			_, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
			return err
		},
	}
	const passed, missing, invalid, operatorOnly, noLevel = "", "TOKEN_MISSING", "TOKEN_INVALID", "OPERATOR_ONLY", "NO_ACCESS_LEVEL"
	code := map[string]int32{missing: 401, invalid: 401, operatorOnly: 403, noLevel: 403}
	for _, c := range []struct {
		call, token, header, reason string
	}{
		{"public", "nobody", nobody, passed},
		{"public", "shopper", shopper, passed},
		{"public", "operator", operator, passed},
		{"public", "expired", expired, invalid},
		{"member", "nobody", nobody, missing},
		{"member", "shopper", shopper, passed},
		{"member", "operator", operator, passed},
		{"member", "expired", expired, invalid},
		{"member", "without Bearer", notBearer, invalid},
		{"member", "basic", "Basic bTpwYXNzd29yZA==", invalid},
		{"member", "Bearer of nothing", "Bearer ", invalid},
		{"operator", "nobody", nobody, missing},
		{"operator", "shopper", shopper, operatorOnly},
		{"operator", "operator", operator, passed},
		{"operator", "expired", expired, invalid},
		{"operator", "without Bearer", notBearer, invalid},
		{"branch", "nobody", nobody, passed},
		{"branch", "expired", expired, passed},
		{"unspecified", "nobody", nobody, noLevel},
		{"unspecified", "shopper", shopper, noLevel},
		{"unspecified", "operator", operator, noLevel},
		{"unspecified", "expired", expired, invalid},
		{"health", "nobody", nobody, passed},
		{"health", "expired", expired, passed},
	} {
		t.Run(c.call+" by "+c.token, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			if c.header != "" {
				ctx = metadata.AppendToOutgoingContext(ctx, "authorization", c.header)
			}
			err := calls[c.call](ctx)
			if c.reason == passed {
				reached := err == nil || status.Code(err) == codes.Unimplemented
				assert.True(t, reached, "the call did not reach its handler: %v", err)
				return
			}
			got := kerrors.FromError(err)
			assert.Equal(t, c.reason, got.Reason, "%v", err)
			assert.Equal(t, code[c.reason], got.Code)
		})
	}
}

func TestTheHandlerFindsTheCaller(t *testing.T) {
	t.Parallel()
	signer, verifier := pair(t)
	conn := serve(t, verifier)
	token, err := signer.Sign(identity.Caller{MemberID: "m-9", Role: accessv1.Operator}, time.Now(), time.Hour)
	require.NoError(t, err)
	me, err := memberv1.NewMembersClient(conn).GetMe(
		metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token), &memberv1.GetMeRequest{})
	require.NoError(t, err)
	assert.Equal(t, "m-9", me.GetMemberId())
	assert.Equal(t, string(accessv1.Operator), me.GetName())

	assert.Zero(t, identity.FromContext(t.Context()))
}

func TestGuardRunsBehindATransportOnly(t *testing.T) {
	t.Parallel()
	_, v := pair(t)
	_, err := identity.Guard(v)(func(context.Context, any) (any, error) { return nil, errors.New("reached") })(t.Context(), nil)
	assert.Equal(t, "NO_TRANSPORT", kerrors.Reason(err))
}

func TestLevelOf(t *testing.T) {
	t.Parallel()
	for operation, want := range map[string]accessv1.Level{
		inventoryv1.Catalogue_GetProduct_FullMethodName:    accessv1.Level_PUBLIC,
		memberv1.Members_GetMe_FullMethodName:              accessv1.Level_MEMBER,
		inventoryv1.Catalogue_CreateProduct_FullMethodName: accessv1.Level_OPERATOR,
		inventoryv1.StockFreeze_Cancel_FullMethodName:      accessv1.Level_BRANCH,
		"inventory.v1.Catalogue/GetProduct":                accessv1.Level_PUBLIC,
		"/inventory.v1.Catalogue/Absent":                   accessv1.Level_LEVEL_UNSPECIFIED,
		"/inventory.v1/Product":                            accessv1.Level_LEVEL_UNSPECIFIED, // a message
		"/inventory.v1/Catalogue":                          accessv1.Level_LEVEL_UNSPECIFIED, // a service
		"/grpc.health.v1.Health/Check":                     accessv1.Level_LEVEL_UNSPECIFIED,
		"":                                                 accessv1.Level_LEVEL_UNSPECIFIED,
	} {
		assert.Equal(t, want, identity.LevelOf(operation), "%q", operation)
	}
}

func TestCheckLevels(t *testing.T) {
	t.Parallel()
	srv := kgrpc.NewServer()
	creditv1.RegisterCreditsServer(srv, creditv1.UnimplementedCreditsServer{})
	creditv1.RegisterCreditGrantServer(srv, creditv1.UnimplementedCreditGrantServer{})
	inventoryv1.RegisterCatalogueServer(srv, inventoryv1.UnimplementedCatalogueServer{})
	inventoryv1.RegisterStockFreezeServer(srv, inventoryv1.UnimplementedStockFreezeServer{})
	memberv1.RegisterMembersServer(srv, memberv1.UnimplementedMembersServer{})
	orderv1.RegisterOrdersServer(srv, orderv1.UnimplementedOrdersServer{})
	orderv1.RegisterOrderPaymentServer(srv, orderv1.UnimplementedOrderPaymentServer{})
	wmsv1.RegisterWarehouseServer(srv, wmsv1.UnimplementedWarehouseServer{})
	wmsv1.RegisterDeliverySlipServer(srv, wmsv1.UnimplementedDeliverySlipServer{})
	require.NoError(t, identity.CheckLevels(srv.GetServiceInfo()), "every method of ours says who may call it")

	srv.RegisterService(&unnamed, nil)
	require.ErrorContains(t, identity.CheckLevels(srv.GetServiceInfo()), "test.v1.Unnamed/Call has no (access.v1.level)")

	info := func(service string, m grpc.MethodInfo) map[string]grpc.ServiceInfo {
		return map[string]grpc.ServiceInfo{service: {Methods: []grpc.MethodInfo{m}}}
	}
	const catalogue = "inventory.v1.Catalogue"
	require.NoError(t, identity.CheckLevels(info(catalogue, grpc.MethodInfo{Name: "GetProduct"})))
	require.Error(t, identity.CheckLevels(info(catalogue, grpc.MethodInfo{Name: "Absent"})))
	require.ErrorContains(t, identity.CheckLevels(info(catalogue, grpc.MethodInfo{Name: "GetProduct", IsServerStream: true})), "streams")
	require.ErrorContains(t, identity.CheckLevels(info(catalogue, grpc.MethodInfo{Name: "GetProduct", IsClientStream: true})), "streams")
}
