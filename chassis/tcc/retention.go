package tcc

import (
	"fmt"
	"time"

	"example.com/fourfold/chassis/database"
)

// MinKeepBarrier is the least time for which barrier rows are kept. The coordinator repeats a Confirm or Cancel for as long as the participant
// is away. If the row of its Try were deleted meanwhile, Cancel would conclude that the Try never came, and nothing would release what it holds.
// So a participant may be away for this long.
const MinKeepBarrier = 7 * 24 * time.Hour

// BarrierRetention returns the rule that deletes barrier rows older than keep, 0 for never. It fails when keep is not 0 and less than
// MinKeepBarrier.
func BarrierRetention(keep time.Duration) (database.Retention, error) {
	if keep != 0 && keep < MinKeepBarrier {
		return database.Retention{},
			fmt.Errorf("barrier rows kept for %v: at least %v, longer than the longest retry of a Confirm or Cancel; 0 keeps them for ever",
				keep, MinKeepBarrier)
	}
	return database.Retention{Table: "barrier", Column: "create_time", Keep: keep}, nil
}
