package e2e_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/stretchr/testify/assert"
)

// oddTexts are strings that trip careless programs.
var oddTexts = []string{"", " ", "测试", "😀", "e\u0301", "\u202eabc", "\ufeff", "a\x00b", "a\nb\r\nSet-Cookie: x", "' OR '1'='1",
	"x'; DROP TABLE orders; --",
	`\`, `"`, "%s%n%d", "${jndi:x}", "<script>alert(1)</script>", "../../../etc/passwd", "NaN", "null", "undefined", "-1", "1e400"}

// badTexts are strings that no field of s takes.
func badTexts(s *schema) []string {
	var bad []string
	switch {
	case s.Type == "integer":
		bad = []string{"x", "1.5", "1e3", "NaN", "Infinity", "0x10", " 1", "true", "9007199254740993", "-9223372036854775809",
			strings.Repeat("9", 1000)}
		if s.Minimum != nil {
			bad = append(bad, fmt.Sprint(*s.Minimum-1), "-2147483648")
		}
		if s.Maximum != nil {
			bad = append(bad, fmt.Sprint(*s.Maximum+1), "2147483647", "2147483648")
		}
	case s.Type == "boolean":
		bad = []string{"yes", "1", "TRUE"}
	case len(s.Enum) > 0:
		bad = []string{"surprise", strings.ToLower(s.Enum[0]), "1", "-1", strings.Repeat("X", 5000)}
	default:
		if s.MaxLength > 0 {
			bad = append(bad, strings.Repeat("x", s.MaxLength+1), strings.Repeat("界", s.MaxLength+1), strings.Repeat("x", 5000))
		}
		if s.MinLength > 0 {
			bad = append(bad, "")
		}
		if s.MinLength > 1 {
			bad = append(bad, strings.Repeat("x", s.MinLength-1))
		}
		if s.Pattern != "" || s.Format == "email" {
			bad = append(bad, "", "-", "测试", "a b", "x'; DROP TABLE orders; --", "a\x00b", "\n", "good\n")
		}
	}
	return bad
}

// badValues are JSON values that no field of s takes.
func badValues(s *schema) []string {
	var bad []string
	for kind, values := range map[string][]string{
		"string":  {`"surprise"`},
		"integer": {"1.5", "12"},
		"boolean": {"true", "false"},
		"array":   {"[]", `[{}]`, "[[]]", "[null]"},
		"object":  {"{}", `{"a":1}`},
	} {
		// protobuf's JSON also takes whole numbers as strings.
		if kind != s.Type {
			bad = append(bad, values...)
		}
	}
	switch s.Type {
	case "integer":
		bad = append(bad, "1.5", "1e400", "-1e400", "1e3", "1e-5", "9007199254740993", "-9007199254740993", "9223372036854775808",
			"-9223372036854775809",
			strings.Repeat("9", 1000))
		if s.Minimum != nil {
			bad = append(bad, fmt.Sprint(*s.Minimum-1), "-2147483648", "-9007199254740992")
		}
		if s.Maximum != nil {
			bad = append(bad, fmt.Sprint(*s.Maximum+1), "2147483648", "9007199254740992")
		}
	case "array":
		if s.MinItems > 0 {
			bad = append(bad, "[]")
		}
		return bad
	}
	for _, text := range badTexts(s) {
		if s.Type != "boolean" || text != "true" {
			quoted, _ := json.Marshal(text)
			bad = append(bad, string(quoted))
		}
	}
	return bad
}

// field is a field of a body by its path: "lines", 0, "sku".
type field struct {
	path     []any
	schema   *schema
	required bool
}

func (f field) name() string {
	var b strings.Builder
	for _, step := range f.path {
		if i, ok := step.(int); ok {
			fmt.Fprintf(&b, "[%d]", i)
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		fmt.Fprint(&b, step)
	}
	return b.String()
}

func fields(s *schema, at []any) []field {
	var all []field
	for name, p := range s.Properties {
		f := field{append(slices.Clone(at), name), p, slices.Contains(s.Required, name)}
		all = append(all, f)
		switch p.Type {
		case "object":
			all = append(all, fields(p, f.path)...)
		case "array":
			if p.Items.Type == "object" {
				all = append(all, fields(p.Items, append(slices.Clone(f.path), 0))...)
			}
		}
	}
	return all
}

// with returns a valid body in which the field at path has value: JSON, or "" for no field.
func (a attack) with(path []any, value string) string {
	body := good(a.T, a.route.body())
	// With an existing product, an odd address gets as far as the database.
	if lines, ok := body.(map[string]any)["lines"].([]any); ok && a.sku != "" {
		lines[0].(map[string]any)["sku"] = a.sku
	}
	at := body
	for _, step := range path[:len(path)-1] {
		if i, ok := step.(int); ok {
			at = at.([]any)[i]
		} else {
			at = at.(map[string]any)[step.(string)]
		}
	}
	last := path[len(path)-1].(string)
	if value == "" {
		delete(at.(map[string]any), last)
	} else {
		at.(map[string]any)[last] = json.RawMessage(value)
	}
	return text(a.T, body)
}

// bodies sends bodies with one error each.
func (a attack) bodies() {
	if a.route.method == "GET" {
		return
	}
	if s := a.route.body(); s != nil {
		for _, f := range fields(s, nil) {
			a.field(f)
		}
		a.body = strings.TrimSuffix(a.body, "}") + `, "surprise": 1}`
		a.send("unknown field").refuses("surprise")
		for _, f := range fields(s, nil)[:1] {
			top := f.path[0].(string)
			a.body = fmt.Sprintf(`{%q: null, %q: null}`, top, top)
			a.send("a field twice").refuses(top)
		}
	} else {
		a.body = `{"surprise": 1}`
		a.send("unknown field").refuses("surprise")
	}
	for _, body := range []string{"x", "{", `{"a"`, "[]", "[1]", "null", "true", "1", `"x"`, "{}{}", "{} x", "{'a': 1}", "NaN", "{\"\xff\": 1}",
		"\x00", "\ufeff{}", "<a/>", "a=1&b=2", strings.Repeat("[", 20_000), strings.Repeat(`{"a":`, 10_000), `{"": 1}`, `{"__proto__": {}}`,
		`{"` + strings.Repeat("x", 5000) + `": 1}`} {
		a.body = body
		got := a.send(fmt.Sprintf("body %.20q", body))
		assert.Equal(a, 400, got.status, "body %.20q: %s", body, got.raw)
	}
	a.body = `{"x": "` + strings.Repeat("x", 64<<10) + `"}`
	assert.Equal(a, 413, a.send("body of more than 64 KiB").status)
	a.body = strings.Repeat(" ", 1<<20)
	assert.Equal(a, 413, a.send("body of 1 MiB").status)
}

// field sends bodies in which f is wrong or unusual.
func (a attack) field(f field) {
	for _, gone := range []string{"", "null"} {
		a.body = a.with(f.path, gone)
		got := a.send(f.name() + " is missing or null")
		if f.required {
			got.refuses(f.name())
		}
	}
	for _, value := range badValues(f.schema) {
		a.body = a.with(f.path, value)
		a.send(fmt.Sprintf("%s = %.40s (%d bytes)", f.name(), value, len(value))).refuses(f.name())
	}
	switch f.schema.Type {
	case "string":
		for _, odd := range oddTexts {
			a.body = a.with(f.path, text(a.T, odd))
			a.send(fmt.Sprintf("%s = %q", f.name(), odd))
		}
		a.body = a.with(f.path, `"\ud800"`)
		a.send(f.name() + " is half a surrogate")
	case "array":
		items := make([]any, f.schema.MaxItems+1)
		for i := range items {
			items[i] = good(a.T, f.schema.Items)
		}
		if f.schema.MaxItems > 0 {
			a.body = a.with(f.path, text(a.T, items))
			a.send(f.name() + " has too many").refuses(f.name())
		}
	}
}
