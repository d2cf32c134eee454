package main

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	accessv1 "example.com/fourfold/api/access/v1"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/gateway/internal/transcode"
)

const (
	bearer = "bearer"
	// idempotencyKey is the header that a call needs if its proto says so.
	idempotencyKey = "Idempotency-Key"

	schemas     = "#/components/schemas/"
	responses   = "#/components/responses/"
	description = `The public door of Fourfold.

Sign in with POST /v1/sessions and send the token as "Authorization: Bearer …". Money is in cents, times are RFC 3339. Whole
numbers are JSON numbers; requests may hold them up to 2^53 - 1, as numbers or strings. A body has at most 64 KiB, and a field
that is not described here is refused.

Every answer has an X-Request-Id. Every error has the form Error.`
)

// complete fills in doc, which describes the annotated RPCs of files. It fails when doc and the routes differ.
func complete(doc *document, files []protoreflect.FileDescriptor) error {
	routes, err := transcode.Routes(files...)
	if err != nil {
		return err
	}
	doc.Info = info{Title: "Fourfold", Description: description, Version: "v1"}
	doc.Servers = []server{{URL: "/"}}
	doc.Components.SecuritySchemes = ordered[securityScheme]{{bearer, securityScheme{
		Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "The access_token of POST /v1/sessions.",
	}}}
	if err := completeSchemas(doc, routes); err != nil {
		return err
	}
	described := 0
	for _, p := range doc.Paths {
		described += len(p.value)
	}
	if described != len(routes) {
		return fmt.Errorf("protoc-gen-openapi describes %d operations, the gateway serves %d", described, len(routes))
	}
	used := map[int]bool{}
	for _, r := range routes {
		p, _ := doc.Paths.get(r.Path)
		op, ok := p.get(strings.ToLower(r.Method))
		if !ok {
			return fmt.Errorf("protoc-gen-openapi describes no %s %s", r.Method, r.Path)
		}
		completeOperation(doc, op, r, used)
	}
	if err := addStream(doc); err != nil {
		return err
	}
	dropUnused(doc)
	doc.Components.Responses = errorResponses(used)
	doc.Components.Schemas = append(doc.Components.Schemas, entry[*schema]{"Error", errorSchema()})
	return nil
}

// completeOperation fills in op, the operation of r, and adds to used the error codes that op refers to.
func completeOperation(doc *document, op *operation, r transcode.Route, used map[int]bool) {
	named := codesIn(op.Description)
	level := identity.LevelOf(r.Operation)

	op.Description = unindent(op.Description)
	op.Summary, _, _ = strings.Cut(op.Description, ". ")
	op.Summary = strings.TrimSuffix(strings.ReplaceAll(op.Summary, "\n", " "), ".")
	if op.Summary == "" {
		op.Summary = string(r.RPC.Name())
	}
	op.Security = []map[string][]string{}
	who := map[accessv1.Level]string{
		accessv1.Level_PUBLIC:   "Anybody may call.",
		accessv1.Level_MEMBER:   "For members who are signed in.",
		accessv1.Level_OPERATOR: "For operators.",
	}[level]
	op.Description = strings.TrimSpace(op.Description + "\n\n" + who)
	if level != accessv1.Level_PUBLIC {
		op.Security = append(op.Security, map[string][]string{bearer: {}})
	}
	for _, p := range op.Parameters {
		p.Description = unindent(p.Description)
		if f := r.RPC.Input().Fields().ByName(protoreflect.Name(p.Name)); f != nil {
			completeField(p.Schema, f)
			p.Required = p.In == "path" || required(r.RPC.Input())[f.Name()]
		}
	}
	if service.NeedsKey(r.Operation) {
		op.Parameters = append(op.Parameters, &parameter{
			Name: idempotencyKey, In: "header", Required: true,
			Description: "New for each new intention, the same when the call is repeated.",
			Schema:      &schema{Type: "string", MinLength: proto.Uint64(1), MaxLength: proto.Uint64(100)},
		})
		named = append(named, http.StatusUnprocessableEntity)
	}
	completeBody(doc, op, r)

	ok, _ := op.Responses.get("200")
	op.Responses = nil
	for _, code := range codes(r, level, named) {
		answer := &response{Description: http.StatusText(code), Content: ok.Content}
		if code >= 300 {
			answer = &response{Ref: responses + component(code)}
			used[code] = true
		}
		op.Responses = append(op.Responses, entry[*response]{strconv.Itoa(code), answer})
	}
}

// completeBody removes from the request's body what the path holds, and the body when nothing is left.
func completeBody(doc *document, op *operation, r transcode.Route) {
	if op.RequestBody == nil {
		return
	}
	content, _ := op.RequestBody.Content.get("application/json")
	s, ok := doc.Components.Schemas.get(strings.TrimPrefix(content.Schema.Ref, schemas))
	if !ok {
		return
	}
	for _, name := range r.PathFields() {
		s.Properties = slices.DeleteFunc(s.Properties, func(e entry[*schema]) bool { return e.key == name })
		s.Required = slices.DeleteFunc(s.Required, func(field string) bool { return field == name })
	}
	op.RequestBody.Required = len(s.Required) > 0
	if len(s.Properties) == 0 {
		op.RequestBody = nil
	}
}

// unindent removes the space that protoc-gen-openapi leaves before each further line of a comment.
func unindent(comment string) string { return strings.ReplaceAll(comment, "\n ", "\n") }

var threeDigits = regexp.MustCompile(`\b[2-5][0-9]{2}\b`)

// codesIn returns the HTTP codes that an RPC's comment names, and 200 if the comment names no success.
func codesIn(comment string) []int {
	var named []int
	for _, text := range threeDigits.FindAllString(comment, -1) {
		code, err := strconv.Atoi(text)
		if err == nil && http.StatusText(code) != "" {
			named = append(named, code)
		}
	}
	if !slices.ContainsFunc(named, func(code int) bool { return code < 300 }) {
		named = append(named, http.StatusOK)
	}
	return named
}

// codes returns all codes that r may answer, in order: those that its comment names, and those that follow from what r is.
func codes(r transcode.Route, level accessv1.Level, named []int) []int {
	all := append(named, 400, 401, 429, 500, 503)
	if level == accessv1.Level_OPERATOR {
		all = append(all, 403)
	}
	if len(r.PathFields()) > 0 {
		all = append(all, 404)
	}
	if r.HasBody() {
		all = append(all, 413, 415)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// component returns the name of the shared response for an error code: "TooManyRequests".
func component(code int) string { return strings.ReplaceAll(http.StatusText(code), " ", "") }

// texts say what the error codes mean here.
var texts = map[int]string{
	400: "The request is not valid; the message, and metadata.field where there is one, names the field.",
	401: "Nobody is signed in, the token is not valid or has expired, or the sign-in failed.",
	403: "The caller may not make this call.",
	404: "There is no such thing, or it is somebody else's.",
	409: "Refused by the business; reason says why.",
	413: "The body is too large.",
	415: "The body is not said to be application/json.",
	422: "The Idempotency-Key was used before with another body.",
	429: "Too many calls.",
	500: "A fault of ours, to be found in the logs by the request's id.",
	503: "A part of the system is down or late.",
}

// errorResponses returns the shared responses for the error codes in used.
func errorResponses(used map[int]bool) ordered[*response] {
	var all ordered[*response]
	for _, code := range slices.Sorted(maps.Keys(used)) {
		answer := &response{
			Description: cmp.Or(texts[code], http.StatusText(code)),
			Content:     ordered[media]{{"application/json", media{&schema{Ref: schemas + "Error"}}}},
		}
		if code == 429 || code == 503 {
			answer.Headers = ordered[header]{
				{"Retry-After", header{"Seconds to wait before the next try.", &schema{Type: "integer"}}},
			}
		}
		all = append(all, entry[*response]{component(code), answer})
	}
	return all
}

func errorSchema() *schema {
	return &schema{
		Type:     "object",
		Required: []string{"code", "reason", "message", "metadata"},
		Properties: ordered[*schema]{
			{"code", &schema{Type: "integer", Description: "The HTTP code."}},
			{"reason", &schema{Type: "string", Description: "A word for programs, such as STOCK_NOT_ENOUGH."}},
			{"message", &schema{Type: "string", Description: "A sentence for people."}},
			{"metadata", &schema{Type: "object", Additional: &schema{Type: "string"}}},
		},
	}
}
