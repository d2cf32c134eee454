package service

import (
	"context"
	"strconv"

	"github.com/go-kratos/kratos/v2/transport"
)

// CodeHeader is the gRPC response header with which a service tells the gateway to answer with a success other than 200.
const CodeHeader = "x-http-code"

// Code sets the HTTP status with which the gateway answers the call that ctx belongs to, for example 201 or 202.
func Code(ctx context.Context, code int) {
	if tr, ok := transport.FromServerContext(ctx); ok {
		tr.ReplyHeader().Set(CodeHeader, strconv.Itoa(code))
	}
}
