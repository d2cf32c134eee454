package runbook_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/e2e/internal/runbook"
)

const root = "../../.."

// TestEveryAlertHasItsSection: whatever alert a program raises, the section that its text names is in the runbook.
func TestEveryAlertHasItsSection(t *testing.T) {
	t.Parallel()
	page, err := runbook.Read(root)
	require.NoError(t, err)
	keys, err := runbook.Keys(root)
	require.NoError(t, err)
	for _, known := range []string{"payment/", "books/", "dead-letters/", "branch-not-tried", "email-failing", "sms-failing"} {
		assert.Contains(t, keys, known, "the search finds what is known to be raised")
	}
	for key, places := range keys {
		section, _, _ := strings.Cut(key, "/")
		assert.Contains(t, page.Sections, section, "%q is raised at %v: write its section", key, places)
	}
}

// TestCommandsCanBeRun: each line of a fenced block is a command that TestRunbook knows how to run.
func TestCommandsCanBeRun(t *testing.T) {
	t.Parallel()
	page, err := runbook.Read(root)
	require.NoError(t, err)
	require.NotEmpty(t, page.Commands["payment"])
	for section, lines := range page.Commands {
		assert.Contains(t, page.Sections, section)
		for _, line := range lines {
			assert.Regexp(t, regexp.MustCompile(`^(make [a-z]+( [A-Z]+=\S+)*|(GET|POST) /v1/ops/\S+( \{.*\})?)$`), line, section)
		}
	}
}

// TestKeys: keys are found however they are written down, and one that cannot be told is an error.
func TestKeys(t *testing.T) {
	t.Parallel()
	in := func(source string) (map[string][]string, error) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "a.go"), []byte("package a\n"+source), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "a_test.go"), []byte("package a\nfunc t() { x.Raise(c, unknown(), s, d) }"), 0o600))
		return runbook.Keys(dir)
	}
	keys, err := in(`
const prefix = "a/"
func f(x string) {
	x.alerts.Raise(ctx, prefix+x, "", "")
	key := "b/" + x + "c"
	x.Raise(ctx, key, "", "")
	x.Raise(ctx, map[int]string{1: "d", 2: "e"}[1], "", "")
	x.Raise("not", "an alert")
}`)
	require.NoError(t, err)
	found := []string{}
	for key := range keys {
		found = append(found, key)
	}
	assert.ElementsMatch(t, []string{"a/", "b/", "d", "e"}, found)
	for _, hidden := range []string{`f()`, `f() + "-failing"`, `param`, `all[1]`, `map[int]string{1: param}[1]`, `loops`} {
		_, err := in("func f(param string) { loops := loops + param; x.Raise(ctx, " + hidden + `, "", "") }`)
		assert.ErrorContains(t, err, "which alert is this", hidden)
	}
}
