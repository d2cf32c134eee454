package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/gateway/internal/transcode"
	"example.com/fourfold/gateway/internal/upstream"
)

func routeOf(t *testing.T, path string) transcode.Route {
	t.Helper()
	routes, err := transcode.Routes(upstream.Files()...)
	require.NoError(t, err)
	for _, r := range routes {
		if r.Path == path {
			return r
		}
	}
	t.Fatal("no route ", path)
	return transcode.Route{}
}

func TestCodesIn(t *testing.T) {
	t.Parallel()
	for comment, want := range map[string][]int{
		"": {200},
		"It makes one. 201; 409 when it is taken.":                  {201, 409},
		"200 PAID; 202 UPDATING; 503 with Retry-After.":             {200, 202, 503},
		"401 for an unknown login.":                                 {401, 200},
		"At most 500 rows of 299 bytes, 1000 in all.":               {500, 200},
		"It pays 2.00 in 4 steps; 409 when it is canceled. Order 7": {409, 200},
	} {
		assert.Equal(t, want, codesIn(comment), comment)
	}
}

func TestCallThatNeedsAKey(t *testing.T) {
	t.Parallel()
	op := &operation{
		Description: "PayOrder pays.",
		Responses:   ordered[*response]{{"200", &response{Description: "OK"}}},
	}
	used := map[int]bool{}
	completeOperation(&document{}, op, routeOf(t, "/v1/orders/{id}/pay"), used)
	require.Len(t, op.Parameters, 1)
	assert.Equal(t, "header", op.Parameters[0].In)
	assert.True(t, op.Parameters[0].Required)
	answer, ok := op.Responses.get("422")
	assert.True(t, ok)
	assert.Equal(t, "#/components/responses/UnprocessableEntity", answer.Ref)
	assert.True(t, used[422])
}

// TestDocumentThatDoesNotFit tests that a document of protoc-gen-openapi that lacks a route, or has one more, is refused.
func TestDocumentThatDoesNotFit(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, c := range map[string]struct{ text, want string }{
		"unknown words": {"openapi: 3.0.3\nwebhooks: {}\n", "webhooks"},
		"no paths":      {"openapi: 3.0.3\npaths: {}\ncomponents: {schemas: {}}\n", "describes 0 operations"},
		"strange schema": {"openapi: 3.0.3\npaths: {}\ncomponents: {schemas: {order.v1.Nothing: {type: object}}}\n",
			"order.v1.Nothing is of no message"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := filepath.Join(dir, name)
			require.NoError(t, os.WriteFile(in, []byte(c.text), 0o600))
			err := run(in, in+".out")
			require.ErrorContains(t, err, c.want)
			assert.NoFileExists(t, in+".out")
		})
	}
}
