package tcc

import (
	"fmt"
	"time"

	"example.com/fourfold/chassis/mysql"
)

// MinKeepBarrier is the least time that barrier rows are kept. The coordinator repeats a Confirm or Cancel for as long as the
// participant is away; when its Try's row has been deleted meanwhile, Cancel takes the Try for one that never came, and nobody
// releases what it holds. So a participant may be away for this long.
const MinKeepBarrier = 7 * 24 * time.Hour

// BarrierRetention deletes barrier rows older than keep, 0 for never. It fails when keep is less than MinKeepBarrier.
func BarrierRetention(keep time.Duration) (mysql.Retention, error) {
	if keep != 0 && keep < MinKeepBarrier {
		return mysql.Retention{}, fmt.Errorf("barrier rows kept for %v: at least %v, longer than the longest retry of a Confirm or Cancel; 0 keeps them for ever",
			keep, MinKeepBarrier)
	}
	return mysql.Retention{Table: "barrier", Column: "create_time", Keep: keep}, nil
}
