package transcode

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// encode returns m as a JSON object: proto field names in the proto's order, whole numbers as numbers (beyond MaxInt as strings, so that no
// client rounds one unnoticed), enums by name, every field even when it is zero. Absent messages and other absent fields with presence are left
// out.
func encode(m protoreflect.Message) ([]byte, error) {
	var e encoder
	err := e.message(m)
	return e.Bytes(), err
}

type encoder struct{ bytes.Buffer }

func (e *encoder) message(m protoreflect.Message) error {
	if m.Descriptor().ParentFile().Path() == "google/protobuf/wrappers.proto" {
		f := m.Descriptor().Fields().Get(0)
		return e.value(f, m.Get(f))
	}
	if wellKnown(m.Descriptor()) {
		text, err := protojson.Marshal(m.Interface())
		if err != nil {
			return err
		}
		return json.Compact(&e.Buffer, text) // protojson adds spaces at random
	}
	e.WriteByte('{')
	fields := m.Descriptor().Fields()
	first := true
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.HasPresence() && !m.Has(f) {
			continue
		}
		if !first {
			e.WriteByte(',')
		}
		first = false
		e.string(string(f.Name()))
		e.WriteByte(':')
		if err := e.field(f, m.Get(f)); err != nil {
			return err
		}
	}
	e.WriteByte('}')
	return nil
}

func (e *encoder) field(f protoreflect.FieldDescriptor, v protoreflect.Value) error {
	switch {
	case f.IsList():
		e.WriteByte('[')
		for i := range v.List().Len() {
			if i > 0 {
				e.WriteByte(',')
			}
			if err := e.value(f, v.List().Get(i)); err != nil {
				return err
			}
		}
		e.WriteByte(']')
		return nil
	case f.IsMap():
		values := map[string]protoreflect.Value{}
		v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			values[k.String()] = v
			return true
		})
		e.WriteByte('{')
		for i, key := range slices.Sorted(maps.Keys(values)) {
			if i > 0 {
				e.WriteByte(',')
			}
			e.string(key)
			e.WriteByte(':')
			if err := e.value(f.MapValue(), values[key]); err != nil {
				return err
			}
		}
		e.WriteByte('}')
		return nil
	}
	return e.value(f, v)
}

func (e *encoder) value(f protoreflect.FieldDescriptor, v protoreflect.Value) error {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return e.message(v.Message())
	case protoreflect.StringKind:
		e.string(v.String())
	case protoreflect.BytesKind:
		e.string(base64.StdEncoding.EncodeToString(v.Bytes()))
	case protoreflect.BoolKind:
		e.WriteString(strconv.FormatBool(v.Bool()))
	case protoreflect.EnumKind:
		if known := f.Enum().Values().ByNumber(v.Enum()); known != nil {
			e.string(string(known.Name()))
		} else {
			e.WriteString(strconv.Itoa(int(v.Enum()))) // the service is newer than the gateway
		}
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		text, err := json.Marshal(v.Float())
		e.Write(text)
		return err
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		e.whole(strconv.FormatUint(v.Uint(), 10), v.Uint() <= MaxInt)
	default:
		e.whole(strconv.FormatInt(v.Int(), 10), -MaxInt <= v.Int() && v.Int() <= MaxInt)
	}
	return nil
}

func (e *encoder) whole(text string, exact bool) {
	if !exact {
		text = `"` + text + `"`
	}
	e.WriteString(text)
}

func (e *encoder) string(s string) {
	j := json.NewEncoder(&e.Buffer)
	j.SetEscapeHTML(false)
	_ = j.Encode(s) // a string always encodes, and a buffer takes everything
	e.Truncate(e.Len() - 1)
}
