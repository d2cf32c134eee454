package e2e_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPages tests every list that has pages: a token in another spelling, or of another list, is refused and named, and never another page.
func TestPages(t *testing.T) {
	t.Parallel()
	c, sku := shopper(t), product(t, 500, 10)
	product(t, 500, 0)
	for range 2 { // two of each thing that there are lists of
		c.settled(t, paid(t, c, sku), "PAID")
	}
	type list struct {
		as    *client
		path  string
		route *route
	}
	ask := func(l list, query url.Values) (answer, error) {
		return l.as.try(t.Context(), "GET", l.path+"?"+query.Encode(), nil)
	}
	first := func(l list, token string) (answer, error) {
		return ask(l, url.Values{"page_size": {"1"}, "page_token": {token}})
	}
	next := func(l list) string {
		a, err := first(l, "")
		require.NoError(t, err)
		require.Equal(t, 200, a.code, "%s: %s", l.path, a.raw)
		var page struct {
			Next string `json:"next_page_token"`
		}
		require.NoError(t, json.Unmarshal([]byte(a.raw), &page), a.raw)
		return page.Next
	}
	tokens := map[list]string{}
	for _, r := range routes(t) {
		if !slices.ContainsFunc(r.Parameters, func(p *parameter) bool { return p.Name == "page_token" }) {
			continue
		}
		l := list{c, r.path, r}
		if strings.HasPrefix(r.path, "/v1/ops/") {
			l.as = operator
		}
		tokens[l] = ""
		if r.OperationID == "Messages_ListDeadLetters" {
			continue // the shop has none, or not two: package fanin tests its tokens
		}
		require.Eventually(t, func() bool { tokens[l] = next(l); return tokens[l] != "" }, patience, 50*time.Millisecond,
			"a second page of %s", r.path)
	}
	require.GreaterOrEqual(t, len(tokens), 7)
	refused := func(l list, token string) {
		a, err := first(l, token)
		require.NoError(t, err)
		assert.Equal(t, 400, a.code, "%s %q: %s", l.path, token, a.raw)
		assert.Contains(t, a.raw, "page_token", "%s %q", l.path, token)
	}
	other, filters, members := shopper(t), 0, 0
	for l, token := range tokens {
		for another, foreign := range tokens {
			if another != l && foreign != "" {
				refused(l, foreign)
			}
		}
		if token == "" {
			continue
		}
		a, err := first(l, token)
		require.NoError(t, err)
		assert.Equal(t, 200, a.code, "%s: %s", l.path, a.raw)
		raw, err := base64.RawURLEncoding.DecodeString(token)
		require.NoError(t, err)
		for _, spelled := range []string{
			strings.ToUpper(token), strings.ToLower(token), token + "=", token + "\n", " " + token, "{" + token + "}", "urn:uuid:" + token,
			token[:len(token)-1], base64.RawURLEncoding.EncodeToString([]byte(strings.ReplaceAll(string(raw), "-", ""))),
			base64.RawURLEncoding.EncodeToString([]byte(strings.ToUpper(string(raw)))),
			strings.Split(string(raw), "\n")[1], // what was a token once
		} {
			if spelled != token {
				refused(l, spelled)
			}
		}
		// Asked for otherwise, or by another member, it is another list.
		for _, p := range l.route.Parameters {
			if p.In != "query" || p.Name == "page_size" || p.Name == "page_token" {
				continue
			}
			value := "ann@example.com"
			switch {
			case len(p.Schema.Enum) > 0:
				value = p.Schema.Enum[len(p.Schema.Enum)-1]
			case strings.HasSuffix(p.Name, "_id"):
				value = "01a2022f-0000-7000-8000-00000000000a"
			}
			a, err := ask(l, url.Values{p.Name: {value}, "page_token": {token}})
			require.NoError(t, err)
			assert.Equal(t, 400, a.code, "%s %s=%s: %s", l.path, p.Name, value, a.raw)
			assert.Contains(t, a.raw, "page_token")
			filters++
		}
		if l.as == c && l.path != "/v1/products" {
			refused(list{other, l.path, l.route}, token)
			members++
		}
	}
	assert.GreaterOrEqual(t, filters, 7)
	assert.Equal(t, 2, members, "orders and entries")
}

// TestOtherSpellingsOfIDs: where an id can be given, another spelling of one is refused, and does not find nothing.
func TestOtherSpellingsOfIDs(t *testing.T) {
	t.Parallel()
	const id = "01a2022f-0000-7000-8000-00000000000a"
	c := shopper(t)
	asked := 0
	for _, r := range routes(t) {
		for _, p := range r.Parameters {
			if p.In == "header" || p.Name != "id" && !strings.HasSuffix(p.Name, "_id") {
				continue
			}
			if p.In == "path" && strings.HasPrefix(r.OperationID, "Messages_") {
				continue // such an id is a service's name and a number
			}
			asked++
			for _, spelled := range []string{strings.ToUpper(id), "{" + id + "}", "urn:uuid:" + id, strings.ReplaceAll(id, "-", "")} {
				path := strings.ReplaceAll(r.path, "{id}", url.PathEscape(spelled))
				if p.In == "query" {
					path = strings.ReplaceAll(r.path, "{id}", id) + "?" + url.Values{p.Name: {spelled}}.Encode()
				}
				as := c
				if strings.HasPrefix(path, "/v1/ops/") {
					as = operator
				}
				var body any
				if s := r.body(); s != nil {
					body = good(t, s)
				}
				a, err := as.try(t.Context(), r.method, path, body)
				require.NoError(t, err)
				assert.Equal(t, 400, a.code, "%s %s: %s", r.method, path, a.raw)
				assert.Contains(t, a.raw, "is spelled", "%s %s", r.method, path)
			}
		}
	}
	require.Greater(t, asked, 10)
}

// TestLongPages: a page of orders that are as long as orders may be is shorter than it might be, and the next goes on: a message of gRPC has
// 4 MiB.
func TestLongPages(t *testing.T) {
	t.Parallel()
	c := shopper(t)
	var lines []any
	for i := range 100 {
		sku := fmt.Sprintf("e2e-long-%s-%02d", strings.ToLower(fmt.Sprintf("%x", time.Now().UnixNano())), i)
		operator.must(t, 201, "POST", "/v1/ops/products", map[string]any{"sku": sku, "name": strings.Repeat("茶", 200), "price_cents": 1})
		lines = append(lines, map[string]any{"sku": sku, "quantity": 1})
	}
	const orders = 60
	for range orders {
		c.must(t, 201, "POST", "/v1/orders", map[string]any{"lines": lines, "address": strings.Repeat("路", 500)})
	}
	seen, pages, token := map[string]bool{}, 0, ""
	for {
		a := c.must(t, 200, "GET", "/v1/orders?page_size=100&page_token="+token, nil)
		var page struct {
			Orders []struct{ ID string }
			Next   string `json:"next_page_token"`
		}
		require.NoError(t, json.Unmarshal([]byte(a.raw), &page))
		for _, o := range page.Orders {
			require.False(t, seen[o.ID], "twice")
			seen[o.ID] = true
		}
		pages++
		if token = page.Next; token == "" {
			break
		}
	}
	assert.Len(t, seen, orders)
	assert.Greater(t, pages, 2)
}

// TestCollations: no text is compared by a rule that takes different characters for the same: all of Unicode is known, or bytes are compared.
// The columns that nothing compares are named here.
func TestCollations(t *testing.T) {
	t.Parallel()
	told := []string{"shop_member.member.name", "shop_notify.contact.name", "shop_notify.inbox.subject", "shop_notify.notification.subject",
		"shop_order.order_line.name"}
	for _, service := range append([]string{"dtm"}, services...) {
		texts := textColumns(t, "shop_"+service)
		assert.NotEmpty(t, texts, "text columns of %s", service)
		for column, knows := range texts {
			if !knows {
				assert.Contains(t, told, column, "give it COLLATE utf8mb4_unicode_520_ci, or utf8mb4_bin")
			}
		}
	}
}

// textColumns returns the text columns of a database that may be compared, and whether they tell all characters apart. It asks as the owner:
// others are shown only what they may read.
func textColumns(t *testing.T, database string) map[string]bool {
	t.Helper()
	rows, err := open(t, shared.OwnerDSN(database)).QueryContext(t.Context(), `SELECT CONCAT_WS('.', table_schema, table_name, column_name),
		collation_name LIKE '%\_bin' OR collation_name IN ('utf8mb4_unicode_520_ci', 'ascii_general_ci')
		FROM information_schema.columns WHERE table_schema = ? AND collation_name IS NOT NULL AND table_name NOT LIKE '%version'
		AND column_name NOT IN ('address', 'body', 'history', 'last_error', 'violations')`, database)
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	texts := map[string]bool{}
	for rows.Next() {
		var (
			column string
			knows  bool
		)
		require.NoError(t, rows.Scan(&column, &knows))
		texts[column] = knows
	}
	require.NoError(t, rows.Err())
	return texts
}
