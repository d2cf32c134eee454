package reconcile_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/fourfold/chassis/database/mysqltest"
)

// BenchmarkMillion checks the books of a million orders (1.5 million lines, 3.5 million events), with the other three services as
// processes of their own. The database has a buffer pool that holds what is read (with a smaller one the disk decides). Filling takes
// minutes. It fails above ten seconds, except for the first check, which reads from the disk.
func BenchmarkMillion(b *testing.B) {
	s := openShop(b)
	_, err := mysqltest.Owner(b, s.order).ExecContext(b.Context(), "SET GLOBAL innodb_buffer_pool_size = 3 * 1024 * 1024 * 1024")
	require.NoError(b, err)
	start := time.Now()
	s.fill(b, 1_000_000)
	b.Logf("filled in %s", time.Since(start).Round(time.Second))
	c := s.comparator()
	for i := 0; b.Loop(); i++ {
		report, err := c.Run(b.Context(), time.Minute)
		require.NoError(b, err)
		require.Empty(b, broken(report))
		b.Logf("checked in %s", report.Took.Round(time.Millisecond))
		if i > 0 {
			require.Less(b, report.Took, 10*time.Second)
		}
	}
}
