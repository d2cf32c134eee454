package upstream

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	creditv1 "example.com/fourfold/api/credit/v1"
	inventoryv1 "example.com/fourfold/api/inventory/v1"
	memberv1 "example.com/fourfold/api/member/v1"
	orderv1 "example.com/fourfold/api/order/v1"
	wmsv1 "example.com/fourfold/api/wms/v1"
)

// Service is a service behind the gateway.
type Service struct {
	// Name is its key under upstreams in config.yaml.
	Name string
	// File is the proto whose annotated RPCs the gateway serves.
	File protoreflect.FileDescriptor
}

// Services are all services behind the gateway. A new service is a line here and an address in config.yaml; a new RPC of one
// that is here is neither.
func Services() []Service {
	return []Service{
		{"order", orderv1.File_order_v1_order_proto},
		{"inventory", inventoryv1.File_inventory_v1_inventory_proto},
		{"credit", creditv1.File_credit_v1_credit_proto},
		{"wms", wmsv1.File_wms_v1_wms_proto},
		{"member", memberv1.File_member_v1_member_proto},
	}
}

// Files are the protos of all services.
func Files() []protoreflect.FileDescriptor {
	var files []protoreflect.FileDescriptor
	for _, s := range Services() {
		files = append(files, s.File)
	}
	return files
}
