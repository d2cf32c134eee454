package identity

import (
	"context"
	"fmt"
	"strings"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/go-kratos/kratos/v2/middleware"
	"github.com/go-kratos/kratos/v2/transport"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	accessv1 "example.com/fourfold/api/access/v1"
)

// Guard returns a middleware that checks each call against the access level of its method, as Verifier.Admit does. The token travels as
// "authorization: Bearer …". The handler finds the caller by FromContext.
func Guard(v *Verifier) middleware.Middleware {
	return func(next middleware.Handler) middleware.Handler {
		return func(ctx context.Context, req any) (any, error) {
			tr, ok := transport.FromServerContext(ctx)
			if !ok {
				return nil, kerrors.InternalServer("NO_TRANSPORT", "the guard runs behind a transport only")
			}
			caller, err := v.Admit(tr.Operation(), tr.RequestHeader().Get("authorization"))
			if err != nil {
				return nil, err
			}
			return next(NewContext(ctx, caller), req)
		}
	}
}

// Admit checks a call of operation ("/package.Service/Method") against the access level of its method and returns who calls. authorization is
// the header "Bearer …", or empty. The error is 401 where a token is needed and missing, and for every token that is not valid, even at a public
// method; 403 for a caller whose role does not reach it, and for everybody at a method without a level. With a 403 the caller is returned too.
func (v *Verifier) Admit(operation, authorization string) (Caller, error) {
	level := LevelOf(operation)
	service, _, _ := strings.Cut(strings.TrimPrefix(operation, "/"), "/")
	if level == accessv1.Level_BRANCH || OfFrame(service) {
		return Caller{}, nil // a branch is authenticated by its MAC, in tcc.Participant
	}
	var caller Caller
	if authorization != "" {
		scheme, token, _ := strings.Cut(authorization, " ")
		var err error
		// The scheme's name has no case (RFC 9110 section 11.1), and any number of spaces follows it.
		if caller, err = v.Verify(strings.TrimLeft(token, " ")); err != nil || !strings.EqualFold(scheme, "Bearer") {
			return Caller{}, kerrors.Unauthorized("TOKEN_INVALID", "the access token is not valid or has expired: sign in again")
		}
	}
	switch {
	case level == accessv1.Level_PUBLIC:
	case level == accessv1.Level_LEVEL_UNSPECIFIED:
		return caller, kerrors.Forbidden("NO_ACCESS_LEVEL", "nobody may call this: its proto has no (access.v1.level)")
	case caller == Caller{}:
		return Caller{}, kerrors.Unauthorized("TOKEN_MISSING", "sign in first: send Authorization: Bearer with an access token")
	case level > caller.Role.level():
		return caller, kerrors.Forbidden("OPERATOR_ONLY", "this call is for operators")
	}
	return caller, nil
}

// LevelOf returns the access level of the method named "/package.Service/Method", LEVEL_UNSPECIFIED when it has none.
func LevelOf(operation string) accessv1.Level {
	name := strings.ReplaceAll(strings.TrimPrefix(operation, "/"), "/", ".")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return accessv1.Level_LEVEL_UNSPECIFIED
	}
	method, ok := d.(protoreflect.MethodDescriptor)
	if !ok {
		return accessv1.Level_LEVEL_UNSPECIFIED
	}
	level, _ := proto.GetExtension(method.Options(), accessv1.E_Level).(accessv1.Level)
	return level
}

// CheckLevels returns an error when a method of services has no access level, or streams: Guard sees unary calls only. The frame's own services
// (health, reflection, metadata) are left out.
func CheckLevels(services map[string]grpc.ServiceInfo) error {
	for name, info := range services {
		if OfFrame(name) {
			continue
		}
		for _, m := range info.Methods {
			if LevelOf(name+"/"+m.Name) == accessv1.Level_LEVEL_UNSPECIFIED {
				return fmt.Errorf("%s/%s has no (access.v1.level) in its proto: say who may call it", name, m.Name)
			}
			if m.IsClientStream || m.IsServerStream {
				return fmt.Errorf("%s/%s streams, and nothing would guard it: make it unary", name, m.Name)
			}
		}
	}
	return nil
}

// frame are the frame's own services.
var frame = map[string]bool{
	"grpc.health.v1.Health": true, "grpc.channelz.v1.Channelz": true, "kratos.api.Metadata": true,
	"grpc.reflection.v1.ServerReflection": true, "grpc.reflection.v1alpha.ServerReflection": true,
	"envoy.service.status.v3.ClientStatusDiscoveryService": true,
}

// OfFrame reports whether a service ("package.Service") is the frame's own.
func OfFrame(name string) bool { return frame[name] }
