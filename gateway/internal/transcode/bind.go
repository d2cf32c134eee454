package transcode

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// MaxBody is how many bytes a request's body may have.
const MaxBody = 64 << 10

// bind makes the RPC's request from the path's variables, the query and the body. Its errors are 400, naming the field, or 413.
func (r Route) bind(vars url.Values, req *http.Request) (proto.Message, error) {
	m := r.in.New()
	bound := map[string]bool{}
	for _, name := range r.PathFields() {
		if err := setText(m, name, vars.Get(name)); err != nil {
			return nil, err
		}
		bound[name] = true
	}
	if r.body != "" {
		data, err := readBody(req)
		if err == nil && len(data) > 0 {
			err = isJSON(req.Header.Values("Content-Type"))
		}
		if err != nil {
			return nil, err
		}
		target, prefix := m, ""
		if r.body != "*" {
			target, prefix = messageAt(m, r.body), r.body
			bound[r.body] = true
		}
		if err := decode(data, target, prefix, bound); err != nil {
			return nil, err
		}
	}
	query, err := parseQuery(req.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		switch {
		case r.body == "*" || fieldAt(r.in.Descriptor(), name) == nil:
			return nil, invalid(name, "this call has no such query parameter")
		case bound[name] || strings.HasPrefix(name, r.body+"."):
			return nil, invalid(name, "is not a query parameter: the path or the body holds it")
		}
		if err := setQuery(m, name, query[name]); err != nil {
			return nil, err
		}
	}
	return m.Interface(), nil
}

// parseQuery reads a query. Unlike url.Values of net/http it does not drop what it cannot read, which would drop a filter: that is 400, naming
// the parameter.
func parseQuery(raw string) (url.Values, error) {
	query := url.Values{}
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(key)
		if err != nil || !utf8.ValidString(name) {
			return nil, invalid(strings.ToValidUTF8(key, "?"), "this name is not percent-encoded UTF-8")
		}
		if strings.Contains(pair, ";") {
			return nil, invalid(name, "a semicolon is written as %%3B, and parameters are separated by &")
		}
		text, err := url.QueryUnescape(value)
		if err != nil {
			return nil, invalid(name, "is not percent-encoded: a percent sign itself is written as %%25")
		}
		query[name] = append(query[name], text)
	}
	return query, nil
}

// setQuery binds one query parameter. A number, a bool, an enum or a message with an empty text counts as absent.
func setQuery(m protoreflect.Message, name string, values []string) error {
	f := fieldAt(m.Descriptor(), name)
	if f.IsMap() {
		return invalid(name, "a map is not a query parameter")
	}
	if !f.IsList() {
		if len(values) > 1 {
			return invalid(name, "was given more than once")
		}
		if values[0] == "" && f.Kind() != protoreflect.StringKind && f.Kind() != protoreflect.BytesKind {
			return nil
		}
		return setText(m, name, values[0])
	}
	owner, _ := ownerOf(m, name)
	list := owner.Mutable(f).List()
	for _, text := range values {
		v, err := fromText(f, name, text, list.NewElement)
		if err != nil {
			return err
		}
		list.Append(v)
	}
	return nil
}

// setText sets the field at a dotted path from its text in a path or a query.
func setText(m protoreflect.Message, name, text string) error {
	owner, f := ownerOf(m, name)
	v, err := fromText(f, name, text, func() protoreflect.Value { return owner.NewField(f) })
	if err != nil {
		return err
	}
	owner.Set(f, v)
	return nil
}

func fromText(f protoreflect.FieldDescriptor, name, text string, empty func() protoreflect.Value) (protoreflect.Value, error) {
	if !utf8.ValidString(text) {
		return protoreflect.Value{}, invalid(name, "is not valid UTF-8")
	}
	if f.Message() == nil {
		var token any = text
		if f.Kind() == protoreflect.BoolKind && (text == "true" || text == "false") {
			token = text == "true"
		}
		return scalar(f, name, token)
	}
	if !wellKnown(f.Message()) {
		return protoreflect.Value{}, invalid(name, "is an object: give its fields as %s.field", name)
	}
	v := empty()
	quoted, err := json.Marshal(text)
	if err != nil {
		return protoreflect.Value{}, err
	}
	return v, decodeWellKnown(quoted, v.Message(), name)
}

// ownerOf returns the message that holds the field at a dotted path, which it makes when it is absent, and the field.
func ownerOf(m protoreflect.Message, path string) (protoreflect.Message, protoreflect.FieldDescriptor) {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		m, path = messageAt(m, path[:i]), path[i+1:]
	}
	return m, m.Descriptor().Fields().ByName(protoreflect.Name(path))
}

func messageAt(m protoreflect.Message, path string) protoreflect.Message {
	for name := range strings.SplitSeq(path, ".") {
		m = m.Mutable(m.Descriptor().Fields().ByName(protoreflect.Name(name))).Message()
	}
	return m
}

func readBody(req *http.Request) ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(nil, req.Body, MaxBody))
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		return nil, kerrors.New(http.StatusRequestEntityTooLarge, "BODY_TOO_LARGE",
			fmt.Sprintf("the body has more than %d bytes", MaxBody))
	}
	if err != nil {
		return nil, kerrors.BadRequest("BODY_INVALID", "the body ended before it was complete").WithCause(err)
	}
	return data, nil
}

// isJSON returns a 415 unless the header says that the body is JSON. Without this, another origin's page could send one from a visitor's browser as
// text, for which browsers do not ask before (Fetch section 4.8: CORS-preflight).
func isJSON(contentType []string) error {
	if len(contentType) == 1 {
		media, params, err := mime.ParseMediaType(contentType[0])
		if charset := params["charset"]; err == nil && media == "application/json" && (charset == "" || strings.EqualFold(charset, "utf-8")) {
			return nil
		}
	}
	return kerrors.New(http.StatusUnsupportedMediaType, "BODY_TYPE_UNSUPPORTED", "a body is sent with Content-Type: application/json")
}

// invalid returns the 400 about the field at path.
func invalid(path, format string, args ...any) error {
	return kerrors.BadRequest("FIELD_INVALID", path+": "+fmt.Sprintf(format, args...)).
		WithMetadata(map[string]string{"field": path})
}
