module example.com/fourfold/tools/protoc-gen-go-errors

go 1.26

tool github.com/go-kratos/kratos/cmd/protoc-gen-go-errors/v2

require (
	github.com/go-kratos/kratos/cmd/protoc-gen-go-errors/v2 v2.0.0-20260404020628-f149714c1d54 // indirect
	golang.org/x/text v0.3.8 // indirect
	google.golang.org/protobuf v1.33.0 // indirect
)
