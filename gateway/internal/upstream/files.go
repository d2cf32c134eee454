package upstream

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	creditv1 "example.com/fourfold/api/credit/v1"
	inventoryv1 "example.com/fourfold/api/inventory/v1"
	memberv1 "example.com/fourfold/api/member/v1"
	mqv1 "example.com/fourfold/api/mq/v1"
	notifyv1 "example.com/fourfold/api/notify/v1"
	orderv1 "example.com/fourfold/api/order/v1"
	wmsv1 "example.com/fourfold/api/wms/v1"
)

// Service is a service behind the gateway.
type Service struct {
	// Name is its key under upstreams in config.yaml.
	Name string
	// File is the proto whose annotated RPCs the gateway serves.
	File protoreflect.FileDescriptor
	// Optional services are optional: the gateway is ready even while they are not.
	Optional bool
}

// Services returns all services behind the gateway. A new service is a line here and an address in config.yaml; a new RPC of an existing service
// needs neither. Each also serves Messages about its own database.
func Services() []Service {
	return []Service{
		{Name: "order", File: orderv1.File_order_v1_order_proto},
		{Name: "inventory", File: inventoryv1.File_inventory_v1_inventory_proto},
		{Name: "credit", File: creditv1.File_credit_v1_credit_proto},
		{Name: "wms", File: wmsv1.File_wms_v1_wms_proto},
		{Name: "member", File: memberv1.File_member_v1_member_proto},
		{Name: "notify", File: notifyv1.File_notify_v1_notify_proto, Optional: true},
	}
}

// Messages returns the proto that all services serve, each about its own database: the gateway asks all of them.
func Messages() protoreflect.FileDescriptor { return mqv1.File_mq_v1_mq_proto }

// Files returns the protos of all services, and Messages.
func Files() []protoreflect.FileDescriptor {
	var files []protoreflect.FileDescriptor
	for _, s := range Services() {
		files = append(files, s.File)
	}
	return append(files, Messages())
}
