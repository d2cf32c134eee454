package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"example.com/fourfold/gateway/internal/transcode"
)

// completeSchemas corrects the schema of every message of the routes' requests and replies.
func completeSchemas(doc *document, routes []transcode.Route) error {
	asked, answered := messages{}, messages{}
	for _, r := range routes {
		asked.add(r.RPC.Input())
		answered.add(r.RPC.Output())
	}
	for _, e := range doc.Components.Schemas {
		s := e.value
		if m, ok := asked[e.key]; ok {
			s.Additional = false // the gateway refuses unknown fields
			s.Required = nil
			for i := range m.Fields().Len() {
				if name := m.Fields().Get(i).Name(); required(m)[name] {
					s.Required = append(s.Required, string(name))
				}
			}
			completeFields(s, m)
			continue
		}
		m, ok := answered[e.key]
		if !ok {
			return fmt.Errorf("schema %s is of no message that a route takes or gives", e.key)
		}
		for i := range m.Fields().Len() {
			if f := m.Fields().Get(i); !f.HasPresence() {
				s.Required = append(s.Required, string(f.Name()))
			}
		}
		completeFields(s, m)
	}
	return nil
}

func completeFields(s *schema, m protoreflect.MessageDescriptor) {
	for _, p := range s.Properties {
		completeField(p.value, m.Fields().ByName(protoreflect.Name(p.key)))
	}
}

// completeField corrects the type of a field and adds the rules of its proto.
func completeField(s *schema, f protoreflect.FieldDescriptor) {
	s.Description = unindent(s.Description)
	rules, _ := proto.GetExtension(f.Options(), validate.E_Field).(*validate.FieldRules)
	if f.IsList() {
		if list := rules.GetRepeated(); list != nil {
			s.MinItems, s.MaxItems = list.MinItems, list.MaxItems
		}
		s, rules = s.Items, rules.GetRepeated().GetItems()
	}
	switch f.Kind() {
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind,
		protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		s.Type, s.Format = "integer", "int64"
	case protoreflect.EnumKind:
		s.Format = ""
		s.Enum = slices.DeleteFunc(s.Enum, func(name string) bool {
			return f.Enum().Values().ByName(protoreflect.Name(name)).Number() == 0
		})
	}
	if text := rules.GetString(); text != nil {
		s.MinLength, s.MaxLength, s.Pattern = text.MinLen, text.MaxLen, text.GetPattern()
		if text.GetEmail() {
			s.Format = "email"
		}
	}
	s.Minimum, s.Maximum = bounds(rules)
}

// bounds returns the smallest and the largest whole number that rules allow, nil where there is no bound.
func bounds(rules *validate.FieldRules) (low, high *int64) {
	wide := func(n int32) *int64 { return proto.Int64(int64(n)) }
	if r := rules.GetInt32(); r != nil {
		switch l := r.GreaterThan.(type) {
		case *validate.Int32Rules_Gte:
			low = wide(l.Gte)
		case *validate.Int32Rules_Gt:
			low = wide(l.Gt + 1)
		}
		switch h := r.LessThan.(type) {
		case *validate.Int32Rules_Lte:
			high = wide(h.Lte)
		case *validate.Int32Rules_Lt:
			high = wide(h.Lt - 1)
		}
	}
	if r := rules.GetInt64(); r != nil {
		switch l := r.GreaterThan.(type) {
		case *validate.Int64Rules_Gte:
			low = proto.Int64(l.Gte)
		case *validate.Int64Rules_Gt:
			low = proto.Int64(l.Gt + 1)
		}
		switch h := r.LessThan.(type) {
		case *validate.Int64Rules_Lte:
			high = proto.Int64(h.Lte)
		case *validate.Int64Rules_Lt:
			high = proto.Int64(h.Lt - 1)
		}
	}
	return low, high
}

// required returns the fields of m that must be set: those whose absence the validation of an empty m reports.
func required(m protoreflect.MessageDescriptor) map[protoreflect.Name]bool {
	fields := map[protoreflect.Name]bool{}
	t, err := protoregistry.GlobalTypes.FindMessageByName(m.FullName())
	if err != nil {
		return fields
	}
	invalid := new(protovalidate.ValidationError)
	if errors.As(protovalidate.Validate(t.New().Interface()), &invalid) {
		for _, v := range invalid.Violations {
			if path := v.Proto.GetField().GetElements(); len(path) > 0 {
				fields[protoreflect.Name(path[0].GetFieldName())] = true
			}
		}
	}
	return fields
}

// messages are message types by the name that protoc-gen-openapi gives their schema: "order.v1.CreateOrderRequest_Line".
type messages map[string]protoreflect.MessageDescriptor

// add adds m and all messages that it holds.
func (ms messages) add(m protoreflect.MessageDescriptor) {
	pkg := string(m.ParentFile().Package()) + "."
	name := pkg + strings.ReplaceAll(strings.TrimPrefix(string(m.FullName()), pkg), ".", "_")
	if _, known := ms[name]; known || pkg == "google.protobuf." {
		return
	}
	ms[name] = m
	for i := range m.Fields().Len() {
		if held := m.Fields().Get(i).Message(); held != nil {
			ms.add(held)
		}
	}
}

// dropUnused removes the schemas that nothing refers to.
func dropUnused(doc *document) {
	used := map[string]bool{}
	var visit func(s *schema)
	visit = func(s *schema) {
		if s == nil {
			return
		}
		if name, ok := strings.CutPrefix(s.Ref, schemas); ok && !used[name] {
			used[name] = true
			held, _ := doc.Components.Schemas.get(name)
			visit(held)
		}
		visit(s.Items)
		for _, part := range s.AllOf {
			visit(part)
		}
		for _, p := range s.Properties {
			visit(p.value)
		}
	}
	for _, p := range doc.Paths {
		for _, op := range p.value {
			if op.value.RequestBody != nil {
				for _, c := range op.value.RequestBody.Content {
					visit(c.value.Schema)
				}
			}
			for _, r := range op.value.Responses {
				for _, c := range r.value.Content {
					visit(c.value.Schema)
				}
			}
		}
	}
	doc.Components.Schemas = slices.DeleteFunc(doc.Components.Schemas, func(e entry[*schema]) bool { return !used[e.key] })
}
