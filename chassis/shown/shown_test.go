package shown_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	mqv1 "example.com/fourfold/api/mq/v1"
	orderv1 "example.com/fourfold/api/order/v1"
	textv1 "example.com/fourfold/api/text/v1"
	"example.com/fourfold/chassis/shown"
)

func TestLine(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"Ann", "李安 🙂", "José", "Jose\u0301", "O'Neill-Łuczak, Jr.", "محمد", "علی\u200cرضا", "क्\u200dष", "नमस्ते", "ภาษาไทย",
		"👨\u200d👩\u200d👧", "❤\ufe0f", "1\ufe0f\u20e3", "👍🏽", "🏳\ufe0f\u200d🌈", "café №5 ™", "a\u00a0b", "שָׁלוֹם", "操作员 One", "€", "1"} {
		assert.NoError(t, shown.Line(s), "%+q", s)
	}
	for _, s := range []string{
		"", " ", "\u00a0\u3000", "\u200b", "An\u200bn", "An\u200dn", "An\u200cn", "\u200dAnn", "Ann\u200d", "\ufeffAnn", "A\u2060nn", "An\u00adn",
		"\u202egnp.exe", "a\u202ab", "a\u2066b\u2069", "a\u200eb", "a\u200fb", "a\u061cb", "a\u180eb", "a\u034fb",
		"\u3164", "\u115f\u1160", "\uffa0", "\u2800\u2800", "A\ufe0fnn", "A\ufe01", "a\U000e0100", "a\U000e0041", "a\ufff9b", "a\ue000", "a\U000f0000",
		"a\u0378", "a\ufffe", "a\ufffd", "a\nb", "a\tb", "a\x00b", "a\u2028b", "a\u2029b", "a\u0085b", "a\x7fb",
		"\u0301Ann", "a \u0301", "\u0301", "z\u0300\u0301\u0302\u0303\u0304\u0305", "a\xff",
	} {
		assert.Error(t, shown.Line(s), "%+q", s)
	}
	assert.NoError(t, shown.Lines("1 Main St\r\n\n 上海 200000"))
	assert.NoError(t, shown.Lines(""))
	assert.Error(t, shown.Lines("1 Main St\n\u202eelsewhere"))
	assert.Error(t, shown.Lines("a\rb"))
}

// TestCheck tests that fields are found wherever they are in a message, and named.
func TestCheck(t *testing.T) {
	t.Parallel()
	field := func(name string, n int32, label descriptorpb.FieldDescriptorProto_Label, rule textv1.Shown) *descriptorpb.FieldDescriptorProto {
		options := new(descriptorpb.FieldOptions)
		proto.SetExtension(options, textv1.E_Shown, rule)
		return &descriptorpb.FieldDescriptorProto{Name: &name, Number: &n, Label: &label, Options: options,
			Type: descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum()}
	}
	const one, many = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL, descriptorpb.FieldDescriptorProto_LABEL_REPEATED
	inner := field("inner", 4, many, 0)
	inner.Type, inner.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), proto.String(".t.M")
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{Name: proto.String("t.proto"), Package: proto.String("t"),
		Syntax: proto.String("proto3"), MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("M"),
			Field: []*descriptorpb.FieldDescriptorProto{field("name", 1, one, textv1.Shown_LINE), field("lines", 2, many, textv1.Shown_LINES),
				field("secret", 3, one, 0), inner}}}}, nil)
	assert.NoError(t, err)
	d := file.Messages().Get(0)
	message := func(name, line, secret string) *dynamicpb.Message {
		m := dynamicpb.NewMessage(d)
		m.Set(d.Fields().ByName("name"), protoreflect.ValueOfString(name))
		m.Mutable(d.Fields().ByName("lines")).List().Append(protoreflect.ValueOfString(line))
		m.Set(d.Fields().ByName("secret"), protoreflect.ValueOfString(secret))
		return m
	}
	good := message("Ann", "a\nb", "\u200b")
	assert.NoError(t, shown.Check(good))
	assert.ErrorContains(t, shown.Check(message("a\nb", "a", "")), "name: ")
	assert.ErrorContains(t, shown.Check(message("a", "\u200b", "")), "lines[0]: ")
	list := good.Mutable(d.Fields().ByName("inner")).List()
	list.Append(protoreflect.ValueOfMessage(message("Bob", "a", "")))
	assert.NoError(t, shown.Check(good))
	list.Append(protoreflect.ValueOfMessage(message("\u200b", "a", "")))
	assert.ErrorContains(t, shown.Check(good), "inner[1].name: ")
}

// TestID: an id has one spelling, in each field that is named for one and in messages within; what is no UUID, and a SKU that looks like one, is
// spelled well.
func TestID(t *testing.T) {
	t.Parallel()
	const id = "01a2022f-0000-7000-8000-00000000000a"
	for _, well := range []string{id, "", "order-17", "01a2022f", strings.ToUpper(id) + "x"} {
		assert.NoError(t, shown.ID(well), well)
	}
	for _, spelled := range []string{strings.ToUpper(id), "{" + id + "}", "urn:uuid:" + id, strings.ReplaceAll(id, "-", "")} {
		assert.ErrorContains(t, shown.ID(spelled), id, spelled)
		assert.ErrorContains(t, shown.Check(&orderv1.GetOrderRequest{Id: spelled}), "id: ", spelled)
		assert.ErrorContains(t, shown.Check(&mqv1.TraceMessagesRequest{OrderId: spelled}), "order_id: ", spelled)
		assert.NoError(t, shown.Check(&mqv1.TraceMessagesRequest{Subject: spelled}), "it may be a SKU")
	}
}
