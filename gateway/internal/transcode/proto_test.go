package transcode

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	// What the test protos import.
	_ "google.golang.org/genproto/googleapis/api/annotations"
	_ "google.golang.org/protobuf/types/known/durationpb"
	_ "google.golang.org/protobuf/types/known/timestamppb"
	_ "google.golang.org/protobuf/types/known/wrapperspb"

	_ "example.com/fourfold/api/access/v1"
)

// everything has a field of every kind that the JSON mapping knows.
const everything = `
name: "transcodetest/everything.proto" package: "transcodetest" syntax: "proto3"
dependency: ["google/protobuf/timestamp.proto", "google/protobuf/duration.proto", "google/protobuf/wrappers.proto"]
enum_type { name: "Color" value { name: "COLOR_UNSPECIFIED" number: 0 } value { name: "RED" number: 1 } value { name: "BLUE" number: 2 } }
message_type { name: "Inner"
  field { name: "sku" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "amount" number: 2 type: TYPE_INT64 label: LABEL_OPTIONAL }
  field { name: "inner" number: 3 type: TYPE_MESSAGE type_name: ".transcodetest.Inner" label: LABEL_OPTIONAL }
}
message_type { name: "Everything"
  field { name: "text" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "flag" number: 2 type: TYPE_BOOL label: LABEL_OPTIONAL }
  field { name: "raw" number: 3 type: TYPE_BYTES label: LABEL_OPTIONAL }
  field { name: "color" number: 4 type: TYPE_ENUM type_name: ".transcodetest.Color" label: LABEL_OPTIONAL }
  field { name: "i32" number: 5 type: TYPE_INT32 label: LABEL_OPTIONAL }
  field { name: "u32" number: 6 type: TYPE_UINT32 label: LABEL_OPTIONAL }
  field { name: "i64" number: 7 type: TYPE_INT64 label: LABEL_OPTIONAL }
  field { name: "u64" number: 8 type: TYPE_UINT64 label: LABEL_OPTIONAL }
  field { name: "s64" number: 9 type: TYPE_SINT64 label: LABEL_OPTIONAL }
  field { name: "f32" number: 10 type: TYPE_FLOAT label: LABEL_OPTIONAL }
  field { name: "f64" number: 11 type: TYPE_DOUBLE label: LABEL_OPTIONAL }
  field { name: "inner" number: 12 type: TYPE_MESSAGE type_name: ".transcodetest.Inner" label: LABEL_OPTIONAL }
  field { name: "at_time" number: 13 type: TYPE_MESSAGE type_name: ".google.protobuf.Timestamp" label: LABEL_OPTIONAL }
  field { name: "wait" number: 14 type: TYPE_MESSAGE type_name: ".google.protobuf.Duration" label: LABEL_OPTIONAL }
  field { name: "boxed" number: 15 type: TYPE_MESSAGE type_name: ".google.protobuf.Int64Value" label: LABEL_OPTIONAL }
  field { name: "amounts" number: 16 type: TYPE_INT64 label: LABEL_REPEATED }
  field { name: "colors" number: 17 type: TYPE_ENUM type_name: ".transcodetest.Color" label: LABEL_REPEATED }
  field { name: "inners" number: 18 type: TYPE_MESSAGE type_name: ".transcodetest.Inner" label: LABEL_REPEATED }
  field { name: "counts" number: 19 type: TYPE_MESSAGE type_name: ".transcodetest.Everything.CountsEntry" label: LABEL_REPEATED }
  field { name: "by_number" number: 20 type: TYPE_MESSAGE type_name: ".transcodetest.Everything.ByNumberEntry" label: LABEL_REPEATED }
  field { name: "one_text" number: 21 type: TYPE_STRING label: LABEL_OPTIONAL oneof_index: 0 }
  field { name: "one_count" number: 22 type: TYPE_INT64 label: LABEL_OPTIONAL oneof_index: 0 }
  field { name: "maybe" number: 23 type: TYPE_INT64 label: LABEL_OPTIONAL oneof_index: 1 proto3_optional: true }
  oneof_decl { name: "one" } oneof_decl { name: "_maybe" }
  nested_type { name: "CountsEntry" options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
    field { name: "value" number: 2 type: TYPE_INT64 label: LABEL_OPTIONAL } }
  nested_type { name: "ByNumberEntry" options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_INT64 label: LABEL_OPTIONAL }
    field { name: "value" number: 2 type: TYPE_MESSAGE type_name: ".transcodetest.Inner" label: LABEL_OPTIONAL } }
}`

var registering sync.Mutex

// register registers the file that text describes in this process, once.
func register(t *testing.T, text string) protoreflect.FileDescriptor {
	t.Helper()
	registering.Lock()
	defer registering.Unlock()
	var d descriptorpb.FileDescriptorProto
	require.NoError(t, prototext.Unmarshal([]byte(text), &d))
	if known, err := protoregistry.GlobalFiles.FindFileByPath(d.GetName()); err == nil {
		return known
	}
	file, err := protodesc.NewFile(&d, protoregistry.GlobalFiles)
	require.NoError(t, err)
	require.NoError(t, protoregistry.GlobalFiles.RegisterFile(file))
	for i := range file.Messages().Len() {
		require.NoError(t, protoregistry.GlobalTypes.RegisterMessage(dynamicpb.NewMessageType(file.Messages().Get(i))))
	}
	return file
}

func newEverything(t *testing.T) protoreflect.Message {
	t.Helper()
	return dynamicpb.NewMessage(register(t, everything).Messages().ByName("Everything"))
}
