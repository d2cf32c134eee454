package openapi_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	accessv1 "example.com/fourfold/api/access/v1"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/gateway/internal/live"
	"example.com/fourfold/gateway/internal/transcode"
	"example.com/fourfold/gateway/internal/upstream"
	"example.com/fourfold/gateway/openapi"
)

type operation struct {
	OperationID string                      `yaml:"operationId"`
	Security    []map[string]any            `yaml:"security"`
	Parameters  []struct{ Name, In string } `yaml:"parameters"`
	Responses   map[string]struct {
		Ref     string `yaml:"$ref"`
		Content map[string]struct {
			Schema struct {
				Ref string `yaml:"$ref"`
			}
		}
	} `yaml:"responses"`
}

func load(t *testing.T) (operations map[string]operation, tree map[string]any) {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]operation
	}
	require.NoError(t, yaml.Unmarshal(openapi.YAML, &doc))
	require.NoError(t, yaml.Unmarshal(openapi.YAML, &tree))
	operations = map[string]operation{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			operations[strings.ToUpper(method)+" "+path] = op
		}
	}
	return operations, tree
}

func routes(t *testing.T) []transcode.Route {
	t.Helper()
	all, err := transcode.Routes(upstream.Files()...)
	require.NoError(t, err)
	return all
}

func TestEveryRouteIsDescribedAndNothingElse(t *testing.T) {
	t.Parallel()
	operations, _ := load(t)
	var served, described []string
	for _, r := range routes(t) {
		served = append(served, r.Method+" "+r.Path)
		op := operations[r.Method+" "+r.Path]
		assert.Equal(t, strings.TrimPrefix(strings.ReplaceAll(r.Operation, "/", "_"), "_"+string(r.RPC.ParentFile().Package())+"."),
			op.OperationID)
		var inPath []string
		for _, p := range op.Parameters {
			if p.In == "path" {
				inPath = append(inPath, p.Name)
			}
		}
		assert.ElementsMatch(t, r.PathFields(), inPath, r.Path)
	}
	for name := range operations {
		described = append(described, name)
	}
	assert.ElementsMatch(t, append(served, "GET "+live.Path), described, "run `make generate`")
}

// TestSuccessCodes lists the success codes of the contract independently: the description must have what an RPC's comment promises.
func TestSuccessCodes(t *testing.T) {
	t.Parallel()
	operations, _ := load(t)
	want := map[string]string{
		"POST /v1/members":            "201",
		"POST /v1/orders":             "201",
		"POST /v1/ops/products":       "201",
		"POST /v1/orders/{id}/pay":    "200 202",
		"POST /v1/orders/{id}/refund": "200 202",
		"GET " + live.Path:            "200 204",
	}
	for name, op := range operations {
		var codes []string
		for code := range op.Responses {
			if code < "300" {
				codes = append(codes, code)
			}
		}
		slices.Sort(codes)
		expected := want[name]
		if expected == "" {
			expected = "200"
		}
		assert.Equal(t, expected, strings.Join(codes, " "), name)
	}
}

func TestErrorsAndSecurity(t *testing.T) {
	t.Parallel()
	operations, _ := load(t)
	for _, r := range routes(t) {
		name := r.Method + " " + r.Path
		op := operations[name]
		level := identity.LevelOf(r.Operation)
		assert.Equal(t, level != accessv1.Level_PUBLIC, len(op.Security) > 0, name)
		needed := []string{"400", "401", "429", "500", "503"}
		if level == accessv1.Level_OPERATOR {
			needed = append(needed, "403")
		}
		if strings.Contains(r.Path, "{") {
			needed = append(needed, "404")
		}
		if r.HasBody() {
			needed = append(needed, "413")
		}
		for _, code := range needed {
			assert.Contains(t, op.Responses, code, name)
		}
		for code, response := range op.Responses {
			if code >= "300" {
				assert.NotEmpty(t, response.Ref, "%s %s is not the shared error", name, code)
			}
		}
	}
	for _, name := range []string{"POST /v1/orders/{id}/pay", "POST /v1/orders/{id}/cancel", "POST /v1/ops/products"} {
		assert.Contains(t, operations[name].Responses, "409", name)
	}
}

// TestStream tests the description of the stream: events whose data is an order, for those who may read the order.
func TestStream(t *testing.T) {
	t.Parallel()
	operations, _ := load(t)
	get, stream := operations["GET /v1/orders/{id}"], operations["GET "+live.Path]
	assert.Equal(t, get.Security, stream.Security)
	assert.Contains(t, stream.Responses["200"].Content, "text/event-stream")
	assert.Equal(t, "#/components/schemas/order.v1.Order", stream.Responses["200"].Content["text/event-stream"].Schema.Ref)
	for code := range get.Responses {
		assert.Contains(t, stream.Responses, code)
	}
	var names []string
	for _, p := range stream.Parameters {
		names = append(names, p.In+" "+p.Name)
	}
	assert.ElementsMatch(t, []string{"path id", "header Last-Event-ID"}, names)
}

// TestCompleted tests what protoc-gen-openapi gets wrong on its own.
func TestCompleted(t *testing.T) {
	t.Parallel()
	_, tree := load(t)
	at := func(path ...string) any {
		var v any = tree
		for _, key := range path {
			m, ok := v.(map[string]any)
			require.True(t, ok, "%v: no %s", path, key)
			v = m[key]
		}
		return v
	}
	order := []string{"components", "schemas", "order.v1.Order"}
	assert.Equal(t, map[string]any{"type": "integer", "format": "int64"}, at(append(order, "properties", "total_cents")...))
	assert.NotContains(t, at(append(order, "properties", "status", "enum")...), "STATUS_UNSPECIFIED")
	assert.Contains(t, at(append(order, "required")...), "total_cents")
	assert.NotContains(t, at(append(order, "required")...), "paid_at")

	assert.Equal(t, []any{"lines"}, at("components", "schemas", "order.v1.CreateOrderRequest", "required"))
	line := at("components", "schemas", "order.v1.CreateOrderRequest_Line", "properties", "quantity").(map[string]any)
	assert.Equal(t, 1, line["minimum"])
	assert.Equal(t, 100000, line["maximum"])

	assert.NotContains(t, at("paths", "/v1/orders/{id}/pay", "post"), "requestBody", "all its fields are in the path")
	assert.NotContains(t, at("components", "schemas", "inventory.v1.ReceiveStockRequest", "properties"), "sku", "it is in the path")
	assert.NotContains(t, string(openapi.YAML), "_UNSPECIFIED")
	assert.NotContains(t, string(openapi.YAML), "127.0.0.1")
}

func TestReferencesLead(t *testing.T) {
	t.Parallel()
	_, tree := load(t)
	refs := regexp.MustCompile(`\$ref: '?#/components/(\w+)/([\w.]+)'?`).FindAllStringSubmatch(string(openapi.YAML), -1)
	require.NotEmpty(t, refs)
	assert.Len(t, refs, strings.Count(string(openapi.YAML), "$ref"))
	used := map[string]bool{}
	for _, ref := range refs {
		group, _ := tree["components"].(map[string]any)[ref[1]].(map[string]any)
		assert.Contains(t, group, ref[2], ref[0])
		used[ref[1]+"/"+ref[2]] = true
	}
	for _, group := range []string{"schemas", "responses"} {
		for name := range tree["components"].(map[string]any)[group].(map[string]any) {
			assert.True(t, used[group+"/"+name], fmt.Sprint(name, " is described and used by nothing"))
		}
	}
}
