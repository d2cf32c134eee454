package docs_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	khttp "github.com/go-kratos/kratos/v2/transport/http"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/gateway/internal/docs"
)

func get(t *testing.T, srv http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w
}

// TestPageIsComplete tests that the page works without a network: everything that it and its files load is served here.
func TestPageIsComplete(t *testing.T) {
	t.Parallel()
	srv := khttp.NewServer()
	require.NoError(t, docs.Register(srv.Route("/"), []byte("openapi: 3.0.3")))
	page := get(t, srv, "/docs")
	require.Equal(t, 200, page.Code)
	assert.Contains(t, page.Header().Get("Content-Type"), "text/html")
	assert.Contains(t, page.Body.String(), "Fourfold")
	assert.NotContains(t, page.Body.String(), "//", "the page refers to another server")
	assert.NotRegexp(t, `<script>|style=|\son\w+=`, page.Body.String(), "the policy forbids what is written inline")

	refs := regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(page.Body.String(), -1)
	require.GreaterOrEqual(t, len(refs), 6)
	for _, ref := range refs {
		file := get(t, srv, ref[1])
		assert.Equal(t, 200, file.Code, ref[1])
		assert.NotZero(t, file.Body.Len(), ref[1])
		if strings.HasSuffix(ref[1], ".css") {
			for _, u := range regexp.MustCompile(`url\(([^)]*)`).FindAllStringSubmatch(file.Body.String(), -1) {
				assert.True(t, strings.HasPrefix(strings.Trim(u[1], `"'`), "data:"), "%s loads %.60s", ref[1], u[1])
			}
			assert.NotContains(t, file.Body.String(), "@import")
		}
	}
	script := get(t, srv, "/docs/page.js").Body.String()
	assert.Contains(t, script, `url: "/openapi.yaml"`)
	assert.Contains(t, script, "validatorUrl: null")
	for _, path := range []string{"LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt"} {
		assert.Equal(t, 200, get(t, srv, "/docs/swagger-ui/"+path).Code, path)
	}
	assert.Equal(t, "openapi: 3.0.3", get(t, srv, "/openapi.yaml").Body.String())
}

func TestPolicyAllowsOnlySelf(t *testing.T) {
	t.Parallel()
	srv := khttp.NewServer()
	require.NoError(t, docs.Register(srv.Route("/"), nil))
	policy := get(t, srv, "/docs").Header().Get("Content-Security-Policy")
	for directive := range strings.SplitSeq(policy, ";") {
		words := strings.Fields(directive)
		for _, source := range words[1:] {
			allowed := source == "'self'" || source == "'none'" || words[0] == "img-src" && source == "data:"
			assert.True(t, allowed, directive)
		}
	}
	assert.Contains(t, policy, "default-src 'none'")
}
