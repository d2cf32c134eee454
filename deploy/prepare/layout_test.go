package prepare

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCheckLayout: data that this version cannot use is refused, with the remedy, and left as it is.
func TestCheckLayout(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, CheckLayout(dir, "secrets.json", "remedy"), "nothing there")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "secrets.json"), []byte("{}"), 0o600))
	require.NoError(t, CheckLayout(dir, "secrets.json", "remedy"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, layoutFile), []byte("2020-01-01\n"), 0o600))
	require.ErrorContains(t, CheckLayout(dir, "secrets.json", "the remedy"), "the remedy")
	kept, err := os.ReadFile(filepath.Join(dir, layoutFile))
	require.NoError(t, err)
	assert.Equal(t, "2020-01-01\n", string(kept))
	require.NoError(t, os.Remove(filepath.Join(dir, layoutFile)))
	require.ErrorContains(t, CheckLayout(dir, "secrets.json", "remedy"), "another version", "data of before there was a layout")
	require.ErrorContains(t, CheckLayout("/nowhere", "secrets.json", ""), "no such file")
}
