package page_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/page"
)

func TestCut(t *testing.T) {
	t.Parallel()
	for rows, want := range map[int]string{0: "[] ", 1: "[0] ", 2: "[0 1] ", 3: "[0 1] 1"} {
		all := []int{0, 1, 2}[:rows]
		got, next := page.Cut(all, 2, func(n int) string { return fmt.Sprint(n) })
		assert.Equal(t, want, fmt.Sprint(got, " ", next), "%d rows", rows)
	}
	assert.EqualValues(t, 20, page.Size(0))
	assert.EqualValues(t, 7, page.Size(7))
}

// TestCheckID: another spelling of an id would be another place in the list, or no place.
func TestCheckID(t *testing.T) {
	t.Parallel()
	id, err := uuid.NewV7()
	require.NoError(t, err)
	require.NoError(t, page.CheckID(""))
	require.NoError(t, page.CheckID(id.String()))
	for _, token := range []string{
		strings.ToUpper(id.String()), "{" + id.String() + "}", "urn:uuid:" + id.String(), strings.ReplaceAll(id.String(), "-", ""),
		uuid.NewString(), "x", " ",
	} {
		assert.ErrorContains(t, page.CheckID(token), "page_token", token)
	}
}
