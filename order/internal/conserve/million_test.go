package conserve_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkMillion checks the books of a million orders (1.5 million lines, 3.5 million events), with the other three services as
// processes of their own and the buffer pool that `make up` gives the database, an eighth of the data. Filling takes minutes.
func BenchmarkMillion(b *testing.B) {
	s := openShop(b)
	_, err := s.order.ExecContext(b.Context(), "SET GLOBAL innodb_buffer_pool_size = 128 * 1024 * 1024")
	require.NoError(b, err)
	start := time.Now()
	s.fill(b, 1_000_000)
	b.Logf("filled in %s", time.Since(start).Round(time.Second))
	c := s.comparator()
	for b.Loop() {
		report, err := c.Run(b.Context(), time.Minute)
		require.NoError(b, err)
		require.Empty(b, broken(report))
		b.Logf("checked in %s", report.Took.Round(time.Millisecond))
	}
}
