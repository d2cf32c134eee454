// Package ledgerlaws holds the laws of every service's ledger.Ledger.
package ledgerlaws

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/ledger"
)

// Run checks that the ledger's digest is the sum of its settled facts, as ledger.Digest makes it, and that the facts of an order are the same by
// its bucket and by its id. want lists all facts as "order id|fact status", settled ones with a "*" at the end.
func Run(t *testing.T, l ledger.Ledger, want ...string) {
	t.Helper()
	all := make([]int, ledger.Buckets)
	for i := range all {
		all[i] = i
	}
	facts, err := l.OfBuckets(t.Context(), all)
	require.NoError(t, err)
	var got, ids []string
	var sum ledger.Digest
	for _, f := range facts {
		text := fmt.Sprintf("%s|%s %s", f.Subject, f.Fact, f.Status)
		if f.Settled {
			text += "*"
			sum.Add(f.Subject, f.Fact)
		}
		got = append(got, text)
		if !slices.Contains(ids, f.Subject) {
			ids = append(ids, f.Subject)
		}
		assert.Less(t, f.Age, time.Minute, "%s is new", text)
	}
	assert.Equal(t, want, got, "facts by order id")

	digest, err := l.Digest(t.Context())
	require.NoError(t, err)
	assert.Equal(t, sum, *digest, "the digest in SQL is the one in Go")

	again, err := l.OfSubjects(t.Context(), append(ids, "nobody's"))
	require.NoError(t, err)
	assert.Equal(t, facts, again)
	for _, id := range ids {
		bucket, err := l.OfBuckets(t.Context(), []int{ledger.Bucket(id)})
		require.NoError(t, err)
		alone, err := l.OfSubjects(t.Context(), []string{id})
		require.NoError(t, err)
		assert.NotEmpty(t, alone)
		assert.Subset(t, bucket, alone, "order %s is in its bucket", id)
	}
	none, err := l.OfSubjects(t.Context(), nil)
	require.NoError(t, err)
	assert.Empty(t, none)
}

// Broken runs the ledger's checks and returns the names of those that find a violation.
func Broken(t *testing.T, ledger ledger.Ledger, open time.Duration) []string {
	t.Helper()
	checks, err := ledger.Check(t.Context(), open)
	require.NoError(t, err)
	require.NotEmpty(t, checks)
	var broken []string
	for _, c := range checks {
		if len(c.Violations) > 0 {
			broken = append(broken, c.Name)
		}
	}
	return broken
}
