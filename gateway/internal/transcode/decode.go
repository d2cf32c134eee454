package transcode

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// MaxInt is the largest whole number, of either sign, that a request may hold: up to it a JSON number keeps its value in every client,
// JavaScript's included, and has no neighbour that is read as the same one (RFC 8259 section 6).
const MaxInt = 1<<53 - 1

// decode reads a JSON object into m: proto field names, whole numbers as numbers or strings, enums by name, null as absent. Unlike protojson it
// knows the field's whole path for its errors, which are 400: prefix names m itself, bound the fields that the body must not set. An empty body
// is an object without fields.
func decode(data []byte, m protoreflect.Message, prefix string, bound map[string]bool) error {
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return nil
	}
	if !utf8.Valid(data) {
		return malformed("it is not UTF-8")
	}
	if err := json.Unmarshal(data, new(json.RawMessage)); err != nil {
		return malformed("it is not JSON: %v", err)
	}
	if data[0] != '{' {
		return malformed("it must be a JSON object")
	}
	d := decoder{json.NewDecoder(bytes.NewReader(data)), data, bound}
	d.UseNumber()
	token, err := d.token(prefix)
	if err != nil {
		return malformed("%v", err)
	}
	return d.message(m, prefix, token)
}

func malformed(format string, args ...any) error {
	return kerrors.BadRequest("BODY_INVALID", "the body cannot be read: "+fmt.Sprintf(format, args...))
}

// decoder reads JSON that is known to be well formed.
type decoder struct {
	*json.Decoder
	data  []byte
	bound map[string]bool
}

// token returns the next token, which belongs to the field at path. A string with half of a surrogate pair is 400: encoding/json would put
// U+FFFD in its place, and what is stored would not be what was sent.
func (d decoder) token(path string) (json.Token, error) {
	from := d.InputOffset()
	token, err := d.Token()
	if _, isText := token.(string); isText && halfSurrogate(d.data[from:d.InputOffset()]) {
		return nil, invalid(path, "has half of a surrogate pair: \\ud83d stands before \\ude00 only, and not alone")
	}
	return token, err
}

// halfSurrogate reports whether JSON text escapes half of a surrogate pair (RFC 8259 section 7) without the other one.
func halfSurrogate(text []byte) bool {
	high := false
	for i := 0; i < len(text); i++ {
		var unit uint64
		if text[i] == '\\' {
			i++
			if text[i] == 'u' {
				unit, _ = strconv.ParseUint(string(text[i+1:i+5]), 16, 16)
				i += 4
			}
		}
		low := 0xdc00 <= unit && unit <= 0xdfff
		if high != low {
			return true
		}
		high = 0xd800 <= unit && unit <= 0xdbff
	}
	return high
}

// message reads the object that begins with token.
func (d decoder) message(m protoreflect.Message, path string, token json.Token) error {
	if token != json.Delim('{') {
		return invalid(path, "must be an object")
	}
	seen := map[string]bool{}
	for d.More() {
		name, err := d.key(path, seen)
		if err != nil {
			return err
		}
		at := join(path, name)
		f := m.Descriptor().Fields().ByName(protoreflect.Name(name))
		switch {
		case f == nil:
			return invalid(at, "there is no such field")
		case d.bound[at]:
			return invalid(at, "is taken from the path: leave it out of the body")
		case f.ContainingOneof() != nil && m.WhichOneof(f.ContainingOneof()) != nil:
			return invalid(at, "excludes %s: give one of them", join(path, string(m.WhichOneof(f.ContainingOneof()).Name())))
		}
		if err := d.field(m, f, at); err != nil {
			return err
		}
	}
	_, err := d.Token() // }
	return err
}

func (d decoder) field(m protoreflect.Message, f protoreflect.FieldDescriptor, path string) error {
	if !f.IsList() && !f.IsMap() {
		v, given, err := d.value(f, path, func() protoreflect.Value { return m.NewField(f) })
		if err == nil && given {
			m.Set(f, v)
		}
		return err
	}
	token, err := d.Token()
	if err != nil || token == nil {
		return err
	}
	if f.IsMap() {
		return d.entries(m.Mutable(f).Map(), f, path, token)
	}
	if token != json.Delim('[') {
		return invalid(path, "must be a list")
	}
	list := m.Mutable(f).List()
	for d.More() {
		at := fmt.Sprintf("%s[%d]", path, list.Len())
		v, given, err := d.value(f, at, list.NewElement)
		if err == nil && !given {
			err = invalid(at, "must not be null")
		}
		if err != nil {
			return err
		}
		list.Append(v)
	}
	_, err = d.Token() // ]
	return err
}

func (d decoder) entries(m protoreflect.Map, f protoreflect.FieldDescriptor, path string, token json.Token) error {
	if token != json.Delim('{') {
		return invalid(path, "must be an object")
	}
	seen := map[string]bool{}
	for d.More() {
		name, err := d.key(path, seen)
		if err != nil {
			return err
		}
		at := join(path, name)
		var keyToken any = name
		if f.MapKey().Kind() == protoreflect.BoolKind && (name == "true" || name == "false") {
			keyToken = name == "true"
		}
		key, err := scalar(f.MapKey(), at, keyToken)
		if err != nil {
			return err
		}
		v, given, err := d.value(f.MapValue(), at, m.NewValue)
		if err == nil && !given {
			err = invalid(at, "must not be null")
		}
		if err != nil {
			return err
		}
		m.Set(key.MapKey(), v)
	}
	_, err := d.Token() // }
	return err
}

func (d decoder) key(path string, seen map[string]bool) (string, error) {
	token, err := d.token(path)
	if err != nil {
		return "", err
	}
	name, _ := token.(string)
	if seen[name] {
		return "", invalid(join(path, name), "was given more than once")
	}
	seen[name] = true
	return name, nil
}

// value reads one value; given is false for null. empty makes the message to fill.
func (d decoder) value(f protoreflect.FieldDescriptor, path string,
	empty func() protoreflect.Value) (v protoreflect.Value, given bool, err error) {
	if f.Message() != nil && wellKnown(f.Message()) {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil || string(raw) == "null" {
			return v, false, err
		}
		v = empty()
		return v, true, decodeWellKnown(raw, v.Message(), path)
	}
	token, err := d.token(path)
	if err != nil || token == nil {
		return v, false, err
	}
	if f.Message() != nil {
		v = empty()
		return v, true, d.message(v.Message(), path, token)
	}
	v, err = scalar(f, path, token)
	return v, true, err
}

// scalar turns a JSON token, or the text of a path or query parameter, into a value of f.
func scalar(f protoreflect.FieldDescriptor, path string, token json.Token) (v protoreflect.Value, err error) {
	text, isText := token.(string)
	number, isNumber := token.(json.Number)
	if isNumber {
		text = number.String()
	}
	switch kind := f.Kind(); kind {
	case protoreflect.BoolKind:
		b, ok := token.(bool)
		if !ok {
			return v, invalid(path, "must be true or false")
		}
		return protoreflect.ValueOfBool(b), nil
	case protoreflect.StringKind:
		if !isText {
			return v, invalid(path, "must be a string")
		}
		return protoreflect.ValueOfString(text), nil
	case protoreflect.BytesKind:
		b, err := base64.StdEncoding.DecodeString(text)
		if !isText || err != nil {
			return v, invalid(path, "must be a string of base64")
		}
		return protoreflect.ValueOfBytes(b), nil
	case protoreflect.EnumKind:
		value := f.Enum().Values().ByName(protoreflect.Name(text))
		if !isText || value == nil {
			return v, invalid(path, "must be one of %s", names(f.Enum()))
		}
		return protoreflect.ValueOfEnum(value.Number()), nil
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		bits := 64
		if kind == protoreflect.FloatKind {
			bits = 32
		}
		n, err := strconv.ParseFloat(text, bits)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return v, invalid(path, "must be a number")
		}
		if bits == 32 {
			return protoreflect.ValueOfFloat32(float32(n)), nil
		}
		return protoreflect.ValueOfFloat64(n), nil
	default:
		return whole(kind, path, text)
	}
}

// whole reads a whole number within the limits of its kind and of MaxInt.
func whole(kind protoreflect.Kind, path, text string) (v protoreflect.Value, err error) {
	low, high := int64(-MaxInt), int64(MaxInt)
	var value func(n int64) protoreflect.Value
	switch kind {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		low, high = math.MinInt32, math.MaxInt32
		value = func(n int64) protoreflect.Value { return protoreflect.ValueOfInt32(int32(n)) }
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		low, high = 0, math.MaxUint32
		value = func(n int64) protoreflect.Value { return protoreflect.ValueOfUint32(uint32(n)) }
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		low = 0
		value = func(n int64) protoreflect.Value { return protoreflect.ValueOfUint64(uint64(n)) }
	default:
		value = protoreflect.ValueOfInt64
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < low || n > high {
		return v, invalid(path, "must be a whole number from %d to %d, without fraction or exponent", low, high)
	}
	return value(n), nil
}

// wellKnown reports whether m has its own form in protobuf's JSON mapping, as Timestamp has.
func wellKnown(m protoreflect.MessageDescriptor) bool {
	return m.ParentFile().Package() == "google.protobuf" && m.Name() != "Empty"
}

func decodeWellKnown(data []byte, m protoreflect.Message, path string) error {
	if err := protojson.Unmarshal(data, m.Interface()); err != nil {
		return invalid(path, "must be a %s as protobuf writes it in JSON%s", m.Descriptor().Name(), example[m.Descriptor().Name()])
	}
	return nil
}

var example = map[protoreflect.Name]string{
	"Timestamp": `: "2026-01-31T08:00:00Z"`,
	"Duration":  `: "1.5s"`,
}

func names(e protoreflect.EnumDescriptor) string {
	var text string
	for i := range e.Values().Len() {
		if v := e.Values().Get(i); v.Number() != 0 {
			text += ", " + string(v.Name())
		}
	}
	return text[min(2, len(text)):]
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
