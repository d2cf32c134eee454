package e2e_test

import (
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// route is one operation of the gateway's own description.
type route struct {
	method, path string
	OperationID  string              `yaml:"operationId"`
	Security     []map[string]any    `yaml:"security"`
	Parameters   []*parameter        `yaml:"parameters"`
	Responses    map[string]struct{} `yaml:"responses"`
	RequestBody  struct {
		Content map[string]struct {
			Schema *schema `yaml:"schema"`
		} `yaml:"content"`
	} `yaml:"requestBody"`
}

type parameter struct {
	Name, In string
	Required bool
	Schema   *schema
}

type schema struct {
	Ref        string `yaml:"$ref"`
	Type       string
	Format     string
	Pattern    string
	Enum       []string
	Minimum    *int64
	Maximum    *int64
	MinLength  int `yaml:"minLength"`
	MaxLength  int `yaml:"maxLength"`
	MinItems   int `yaml:"minItems"`
	MaxItems   int `yaml:"maxItems"`
	Required   []string
	Properties map[string]*schema
	Items      *schema
}

// routes returns the routes in the gateway's description, so that new routes are included.
func routes(t *testing.T) []*route {
	t.Helper()
	resp, err := http.Get(target.Gateway + "/openapi.yaml")
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	var doc struct {
		Paths      map[string]map[string]*route
		Components struct{ Schemas map[string]*schema }
	}
	require.NoError(t, yaml.Unmarshal(data, &doc))
	var all []*route
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(doc.Paths[path])) {
			r := doc.Paths[path][method]
			r.method, r.path = strings.ToUpper(method), path
			if s := r.body(); s != nil {
				resolve(t, s, doc.Components.Schemas)
			}
			all = append(all, r)
		}
	}
	require.Greater(t, len(all), 15, "the description has routes")
	return all
}

// resolve replaces the references in s by their schemas.
func resolve(t *testing.T, s *schema, all map[string]*schema) {
	t.Helper()
	if s.Ref != "" {
		to := all[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
		require.NotNil(t, to, s.Ref)
		*s = *to
	}
	for _, p := range s.Properties {
		resolve(t, p, all)
	}
	if s.Items != nil {
		resolve(t, s.Items, all)
	}
}

func (r *route) body() *schema { return r.RequestBody.Content["application/json"].Schema }

func (r *route) public() bool { return len(r.Security) == 0 }

// operators reports whether only an operator may call: only such routes answer 403.
func (r *route) operators() bool { _, ok := r.Responses["403"]; return ok }

// pathParameter returns the name of the path's variable, "" when it has none.
func (r *route) pathParameter() string {
	for _, p := range r.Parameters {
		if p.In == "path" {
			return p.Name
		}
	}
	return ""
}

// at returns the path with its variable replaced by id, which is in its escaped form.
func (r *route) at(id string) string {
	return strings.ReplaceAll(r.path, "{"+r.pathParameter()+"}", id)
}

// good returns a value that s allows. A pattern or format that it does not know fails the test: add it here.
func good(t *testing.T, s *schema) any {
	t.Helper()
	switch {
	case s.Type == "object":
		o := map[string]any{}
		for name, p := range s.Properties {
			o[name] = good(t, p)
		}
		return o
	case s.Type == "array":
		return []any{good(t, s.Items)}
	case s.Type == "boolean":
		return true
	case s.Type == "integer":
		if s.Minimum != nil {
			return max(*s.Minimum, 1)
		}
		return 1
	case len(s.Enum) > 0:
		return s.Enum[len(s.Enum)-1]
	case s.Format == "date-time":
		return time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
	case s.Format == "email":
		return strings.ToLower(word(16)) + "@example.com"
	case strings.HasPrefix(s.Pattern, `^\+[1-9]`):
		return "+86" + digits(11)
	case s.Pattern == "" || strings.HasPrefix(s.Pattern, "^[A-Za-z0-9]"):
		return word(max(s.MinLength, 16))
	}
	require.Failf(t, "unknown pattern", "say in good what a string of pattern %q looks like", s.Pattern)
	return nil
}

func word(n int) string { return of("abcdefghijklmnopqrstuvwxyz", n) }

func digits(n int) string { return of("0123456789", n) }

func of(alphabet string, n int) string {
	var b strings.Builder
	for range n {
		b.WriteByte(alphabet[rand.IntN(len(alphabet))])
	}
	return b.String()
}
