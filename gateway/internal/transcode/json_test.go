package transcode

import (
	"fmt"
	"math"
	"strings"
	"testing"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	orderv1 "example.com/fourfold/api/order/v1"
)

func TestEncode(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"zeros are there, the absent is not": {``,
			`{"text":"","flag":false,"raw":"","color":"COLOR_UNSPECIFIED","i32":0,"u32":0,"i64":0,"u64":0,"s64":0,"f32":0,"f64":0,` +
				`"amounts":[],"colors":[],"inners":[],"counts":{},"by_number":{}}`},
		"every kind": {`text: "a<b>&\"号" flag: true raw: "\001\377" color: RED i32: -5 u32: 6 i64: 9007199254740991
				u64: 8 s64: -9007199254740991 f32: 1.5 f64: 0.1 inner { sku: "x" amount: 3 } at_time { seconds: 1769846400 nanos: 5000000 }
				wait { seconds: 1 nanos: 500000000 } boxed { value: 7 } amounts: [1, 2] colors: [BLUE, RED] inners { sku: "a" } inners { sku: "b" }
				counts { key: "b" value: 2 } counts { key: "a" value: 1 } by_number { key: 4 value { amount: 9 } } one_count: 0 maybe: 0`,
			`{"text":"a<b>&\"号","flag":true,"raw":"Af8=","color":"RED","i32":-5,"u32":6,"i64":9007199254740991,"u64":8,` +
				`"s64":-9007199254740991,"f32":1.5,"f64":0.1,"inner":{"sku":"x","amount":3},"at_time":"2026-01-31T08:00:00.005Z",` +
				`"wait":"1.500s","boxed":7,"amounts":[1,2],"colors":["BLUE","RED"],"inners":[{"sku":"a","amount":0},{"sku":"b","amount":0}],` +
				`"counts":{"a":1,"b":2},"by_number":{"4":{"sku":"","amount":9}},"one_count":0,"maybe":0}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newEverything(t)
			require.NoError(t, prototext.Unmarshal([]byte(c.text), m.Interface()))
			got, err := encode(m)
			require.NoError(t, err)
			assert.Equal(t, c.want, string(got))
		})
	}
}

func TestEncodeBeyondMaxInt(t *testing.T) {
	t.Parallel()
	m := newEverything(t)
	require.NoError(t, prototext.Unmarshal([]byte(`i64: -9007199254740993 u64: 18446744073709551615 amounts: 9007199254740993 color: 77`),
		m.Interface()))
	got, err := encode(m)
	require.NoError(t, err)
	assert.Contains(t, string(got), `"i64":"-9007199254740993"`, "a number that a client would round is a string")
	assert.Contains(t, string(got), `"u64":"18446744073709551615"`)
	assert.Contains(t, string(got), `"amounts":["9007199254740993"]`)
	assert.Contains(t, string(got), `"color":77`, "an enum value that is newer than the gateway")
}

func TestEncodeOrder(t *testing.T) {
	t.Parallel()
	got, err := encode((&orderv1.Order{Id: "o1", Status: orderv1.Order_PAID, TotalCents: 1000}).ProtoReflect())
	require.NoError(t, err)
	assert.Equal(t, `{"id":"o1","status":"PAID","reason":"","total_cents":1000,"points":0,"lines":[],"address":"","member_id":"","version":0}`,
		string(got))
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		``:                            ``,
		" \n":                         ``,
		`{}`:                          ``,
		`{"text":"a\u00e9号","i64":5}`: `text: "aé号" i64: 5`,
		`{"i64":"9007199254740991","u64":"7","i32":"-3","amounts":["1",2]}`: `i64: 9007199254740991 u64: 7 i32: -3 ` +
			`amounts: [1, 2]`,
		`{"i64":-9007199254740991}`: `i64: -9007199254740991`,
		`{"text":null,"i64":null,"inner":null,"amounts":null,"at_time":null,"counts":null,"maybe":null}`: ``,
		`{"color":"BLUE","colors":["RED"],"flag":true,"raw":"Af8=","f64":1e3,"f32":-0.5}`: `color: BLUE colors: RED flag: true ` +
			`raw: "\001\377" f64: 1000 f32: -0.5`,
		`{"inner":{"sku":"x","inner":{"amount":1}},"inners":[{},{"sku":"y"}]}`: `inner { sku: "x" inner { amount: 1 } } inners {} ` +
			`inners { sku: "y" }`,
		`{"at_time":"2026-01-31T08:00:00Z","wait":"1.5s","boxed":"7"}`: `at_time { seconds: 1769846400 } ` +
			`wait { seconds: 1 nanos: 500000000 } boxed { value: 7 }`,
		`{"counts":{"a":1,"b":"2"},"by_number":{"4":{"amount":9}}}`: `counts { key: "a" value: 1 } counts { key: "b" value: 2 } ` +
			`by_number { key: 4 value { amount: 9 } }`,
		`{"maybe":0,"one_text":""}`: `maybe: 0 one_text: ""`,
	} {
		t.Run(body, func(t *testing.T) {
			t.Parallel()
			got, expected := newEverything(t), newEverything(t)
			require.NoError(t, decode([]byte(body), got, "", nil))
			require.NoError(t, prototext.Unmarshal([]byte(want), expected.Interface()))
			assert.True(t, proto.Equal(expected.Interface(), got.Interface()), "%v", got)
		})
	}
}

// TestDecodeRefuses tests that every refusal is 400 with the path of the field; for a body that is no JSON object there is no path.
// TestWholePairs: a pair is one character, and what only looks like an escape is text.
func TestWholePairs(t *testing.T) {
	t.Parallel()
	for body, text := range map[string]string{`{"text":"\ud83d\ude00"}`: "😀", `{"text":"😀"}`: "😀", `{"text":"\\ud83d"}`: `\ud83d`,
		`{"text":"\\\ud83d\ude00"}`: `\😀`, `{"text":"\ufffd"}`: "\uFFFD", `{"text":"\uD7FF\uE000"}`: "\uD7FF\uE000"} {
		m := newEverything(t)
		require.NoError(t, decode([]byte(body), m, "", nil), body)
		assert.Equal(t, text, m.Get(m.Descriptor().Fields().ByName("text")).String())
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	for body, field := range map[string]string{
		`{`: "", `[]`: "", `null`: "", `"a"`: "", `{"text":"a"} x`: "", `{"text":"a",}`: "", `{'text':1}`: "", "{\"text\":\"\xff\"}": "",
		strings.Repeat(`{"inner":`, 20000): "",

		`{"colour":1}`:                          "colour",
		`{"atTime":"2026-01-31T08:00:00Z"}`:     "atTime",
		`{"inner":{"skU":"a"}}`:                 "inner.skU",
		`{"inners":[{},{"nope":1}]}`:            "inners[1].nope",
		`{"text":"a","text":"b"}`:               "text",
		`{"text":null,"text":"b"}`:              "text",
		`{"text":5}`:                            "text",
		`{"text":{}}`:                           "text",
		`{"flag":"true"}`:                       "flag",
		`{"flag":1}`:                            "flag",
		`{"raw":"%%"}`:                          "raw",
		`{"raw":5}`:                             "raw",
		`{"color":1}`:                           "color",
		`{"color":"GREEN"}`:                     "color",
		`{"i32":2147483648}`:                    "i32",
		`{"u32":-1}`:                            "u32",
		`{"u64":-1}`:                            "u64",
		`{"i64":9007199254740992}`:              "i64",
		`{"i64":"-9007199254740992"}`:           "i64",
		`{"text":"\ud83d"}`:                     "text",
		`{"text":"a\ud83d."}`:                   "text",
		`{"text":"\uDE00"}`:                     "text",
		`{"text":"\ude00\ud83d"}`:               "text",
		`{"text":"\ud83d\ud83d\ude00"}`:         "text",
		`{"text":"\ud83d\n\ude00"}`:             "text",
		`{"inner":{"inner":{"sku":"\udfff"}}}`:  "inner.inner.sku",
		`{"counts":{"\ud800":1}}`:               "counts",
		`{"\ud800":1}`:                          "",
		`{"i64":"-9007199254740993"}`:           "i64",
		`{"i64":1.5}`:                           "i64",
		`{"i64":1e3}`:                           "i64",
		`{"i64":1e999999999}`:                   "i64",
		`{"i64":""}`:                            "i64",
		`{"i64":" 1"}`:                          "i64",
		`{"i64":true}`:                          "i64",
		`{"i64":[1]}`:                           "i64",
		`{"f64":1e999}`:                         "f64",
		`{"f64":"NaN"}`:                         "f64",
		`{"inner":"x"}`:                         "inner",
		`{"inner":[]}`:                          "inner",
		`{"inner":{"inner":{"amount":"x"}}}`:    "inner.inner.amount",
		`{"amounts":1}`:                         "amounts",
		`{"amounts":[1,null]}`:                  "amounts[1]",
		`{"amounts":[1,2,"x"]}`:                 "amounts[2]",
		`{"counts":[]}`:                         "counts",
		`{"counts":{"a":"x"}}`:                  "counts.a",
		`{"counts":{"a":1,"a":1}}`:              "counts.a",
		`{"by_number":{"x":{}}}`:                "by_number.x",
		`{"at_time":"yesterday"}`:               "at_time",
		`{"at_time":5}`:                         "at_time",
		`{"one_text":"a","one_count":1}`:        "one_count",
		`{"inner":{"sku":"taken by the path"}}`: "inner.sku",
	} {
		t.Run(body[:min(40, len(body))], func(t *testing.T) {
			t.Parallel()
			err := decode([]byte(body), newEverything(t), "", map[string]bool{"inner.sku": true})
			e := kerrors.FromError(err)
			require.EqualValues(t, 400, e.GetCode(), "%v", err)
			assert.Equal(t, field, e.Metadata["field"])
			assert.True(t, strings.HasPrefix(e.Message, field), e.Message)
			assert.NotContains(t, e.Message, "proto:")
		})
	}
}

// TestJSONAgreesWithProtojson takes protojson as the judge: it must read what encode writes as the same message, and decode must read what
// protojson writes.
func TestJSONAgreesWithProtojson(t *testing.T) {
	t.Parallel()
	register(t, everything)
	rapid.Check(t, func(rt *rapid.T) {
		m := newEverything(t)
		fill(rt, m, 2)
		text, err := encode(m)
		require.NoError(rt, err)

		back := m.New()
		require.NoError(rt, protojson.Unmarshal(text, back.Interface()))
		require.True(rt, proto.Equal(m.Interface(), back.Interface()), "protojson reads %s otherwise", text)

		back = m.New()
		require.NoError(rt, decode(text, back, "", nil))
		require.True(rt, proto.Equal(m.Interface(), back.Interface()), "decode reads %s otherwise", text)

		text, err = protojson.MarshalOptions{UseProtoNames: true}.Marshal(m.Interface())
		require.NoError(rt, err)
		back = m.New()
		require.NoError(rt, decode(text, back, "", nil))
		require.True(rt, proto.Equal(m.Interface(), back.Interface()), "decode reads protojson's %s otherwise", text)
	})
}

// fill sets some of m's fields, at random, and in messages to depth levels below.
func fill(rt *rapid.T, m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		taken := f.ContainingOneof() != nil && m.WhichOneof(f.ContainingOneof()) != nil
		if taken || !rapid.Bool().Draw(rt, string(f.Name())) {
			continue
		}
		switch {
		case f.IsMap():
			key := draw(rt, f.MapKey(), nil, depth)
			m.Mutable(f).Map().Set(key.MapKey(), draw(rt, f.MapValue(), m.Mutable(f).Map().NewValue, depth))
		case f.IsList():
			list := m.Mutable(f).List()
			for range rapid.IntRange(1, 3).Draw(rt, "items") {
				list.Append(draw(rt, f, list.NewElement, depth))
			}
		default:
			m.Set(f, draw(rt, f, func() protoreflect.Value { return m.NewField(f) }, depth))
		}
	}
}

func draw(rt *rapid.T, f protoreflect.FieldDescriptor, empty func() protoreflect.Value, depth int) protoreflect.Value {
	label := fmt.Sprint(f.Name())
	switch f.Kind() {
	case protoreflect.MessageKind:
		v := empty()
		switch m := v.Message(); {
		case f.Message().FullName() == "google.protobuf.Timestamp", f.Message().FullName() == "google.protobuf.Duration":
			m.Set(f.Message().Fields().ByName("seconds"), protoreflect.ValueOfInt64(rapid.Int64Range(0, 253402300799).Draw(rt, label)))
			m.Set(f.Message().Fields().ByName("nanos"), protoreflect.ValueOfInt32(rapid.Int32Range(0, 999999999).Draw(rt, label)))
		case f.Message().FullName() == "google.protobuf.Int64Value":
			m.Set(f.Message().Fields().ByName("value"), protoreflect.ValueOfInt64(rapid.Int64Range(-MaxInt, MaxInt).Draw(rt, label)))
		case depth > 0:
			fill(rt, m, depth-1)
		}
		return v
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(rapid.String().Draw(rt, label))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rapid.Bool().Draw(rt, label))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(rapid.SliceOf(rapid.Byte()).Draw(rt, label))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(rapid.Int32Range(0, 2).Draw(rt, label)))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(rapid.Int32().Draw(rt, label))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(rapid.Uint32().Draw(rt, label))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(rapid.Uint64Range(0, MaxInt).Draw(rt, label))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(rapid.Float32Range(-math.MaxFloat32, math.MaxFloat32).Draw(rt, label))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(rapid.Float64().Draw(rt, label))
	default:
		return protoreflect.ValueOfInt64(rapid.Int64Range(-MaxInt, MaxInt).Draw(rt, label))
	}
}
