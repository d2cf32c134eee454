package transcode

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	inventoryv1 "example.com/fourfold/api/inventory/v1"
	orderv1 "example.com/fourfold/api/order/v1"
)

// serviceFile is a proto file of one service; rpc is the text of its methods.
func serviceFile(name, rpcs string) string {
	return fmt.Sprintf(`
		name: "transcodetest/%[1]s.proto" package: "transcodetest.%[1]s" syntax: "proto3"
		dependency: ["google/api/annotations.proto", "access/v1/access.proto", "transcodetest/everything.proto"]
		message_type { name: "Id" field { name: "id" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
			field { name: "all" number: 2 type: TYPE_MESSAGE type_name: ".transcodetest.Everything" label: LABEL_OPTIONAL } }
		service { name: "S" %[2]s }`, name, rpcs)
}

func rpc(name, level, http string) string {
	return fmt.Sprintf(`method { name: %q input_type: "Id" output_type: "Id" options { [access.v1.level]: %s [google.api.http] { %s } } }`,
		name, level, http)
}

func TestRoutesInOrder(t *testing.T) {
	t.Parallel()
	register(t, everything)
	file := register(t, serviceFile("ordered",
		rpc("Get", "MEMBER", `get: "/v1/members/{id}"`)+
			rpc("Me", "MEMBER", `get: "/v1/members/me" additional_bindings { post: "/v1/me/{all.inner.sku}" body: "*" }`)+
			rpc("Credit", "MEMBER", `put: "/v1/members/{id}/credit" body: "all"`)+
			`method { name: "Inside" input_type: "Id" output_type: "Id" options { [access.v1.level]: BRANCH } }`))
	routes, err := Routes(file)
	require.NoError(t, err)
	var got []string
	for _, r := range routes {
		got = append(got, fmt.Sprint(r.Method, " ", r.Path, " ", r.Operation, " ", r.PathFields(), " ", r.HasBody()))
	}
	assert.Equal(t, []string{
		"POST /v1/me/{all.inner.sku} /transcodetest.ordered.S/Me [all.inner.sku] true",
		"GET /v1/members/me /transcodetest.ordered.S/Me [] false",
		"GET /v1/members/{id} /transcodetest.ordered.S/Get [id] false",
		"PUT /v1/members/{id}/credit /transcodetest.ordered.S/Credit [id] true",
	}, got, "literal segments come before variables, whatever their order in the proto")
}

// TestRoutesRefuse tests that an annotation that could not be served as it reads stops the gateway at its start.
func TestRoutesRefuse(t *testing.T) {
	t.Parallel()
	register(t, everything)
	for name, c := range map[string]struct{ rpcs, want string }{
		"branch":     {rpc("Try", "BRANCH", `post: "/v1/try"`), "BRANCH is not for the public door"},
		"unleveled":  {rpc("Any", "LEVEL_UNSPECIFIED", `get: "/v1/any"`), "LEVEL_UNSPECIFIED is not for the public door"},
		"patternout": {rpc("No", "MEMBER", `body: "*"`), "needs get, post"},
		"getbody":    {rpc("No", "MEMBER", `get: "/v1/no" body: "*"`), "a GET has no body"},
		"variable":   {rpc("No", "MEMBER", `get: "/v1/no/{nope}"`), "{nope} names no single scalar field"},
		"deepvar":    {rpc("No", "MEMBER", `get: "/v1/no/{all.inner.nope}"`), "{all.inner.nope} names no single scalar"},
		"listvar":    {rpc("No", "MEMBER", `get: "/v1/no/{all.amounts}"`), "{all.amounts} names no single scalar"},
		"template":   {rpc("No", "MEMBER", `get: "/v1/no/{id=shelves/*}"`), "{id=shelves/*} names no single scalar"},
		"scalarbody": {rpc("No", "MEMBER", `post: "/v1/no" body: "id"`), `the body "id" names no single message`},
		"respbody":   {rpc("No", "MEMBER", `post: "/v1/no" response_body: "all"`), "response_body is not supported"},
		"relative":   {rpc("No", "MEMBER", `get: "v1/no"`), "does not begin with /"},
		"twice": {rpc("A", "MEMBER", `get: "/v1/x/{id}"`) + rpc("B", "MEMBER", `get: "/v1/x/{all.text}"`),
			"S/A and /transcodetest.twice.S/B both claim GET"},
		"stream": {`method { name: "Watch" input_type: "Id" output_type: "Id" server_streaming: true
			options { [access.v1.level]: MEMBER [google.api.http] { get: "/v1/watch" } } }`, "streams are not transcoded"},
		"getchanges": {`method { name: "No" input_type: "Id" output_type: "Id" options { idempotency_level: IDEMPOTENT
			[access.v1.level]: MEMBER [google.api.http] { get: "/v1/no" } } }`, "a GET changes nothing"},
		"getadds": {`method { name: "No" input_type: "Id" output_type: "Id" options { [idempotency.v1.key]: true
			[access.v1.level]: MEMBER [google.api.http] { get: "/v1/no" } } }`, "a GET changes nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Routes(register(t, serviceFile(name, c.rpcs)))
			require.Error(t, err)
			assert.Contains(t, err.Error(), c.want)
		})
	}
}

// TestAdvice: after an answer that did not come, a call that changes something is repeated with its key, or after a look.
func TestAdvice(t *testing.T) {
	t.Parallel()
	routes, err := Routes(orderv1.File_order_v1_order_proto, inventoryv1.File_inventory_v1_inventory_proto)
	require.NoError(t, err)
	keyed := []string{}
	for _, r := range routes {
		switch advice := r.advice(); {
		case r.Method == "GET":
			assert.Equal(t, "try again", advice, r.Path)
		case strings.Contains(advice, "with the same Idempotency-Key"):
			keyed = append(keyed, r.Path)
		default:
			assert.Contains(t, advice, "look before", r.Path)
		}
	}
	assert.ElementsMatch(t, []string{"/v1/orders", "/v1/orders/{id}/pay", "/v1/ops/products/{sku}/stock"}, keyed)
}
