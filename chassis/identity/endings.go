package identity

import "sync/atomic"

// Endings are the members whose tokens were ended before they expire, each with the first epoch whose tokens are still good. No clock decides: a
// token names the epoch that it was made in. The zero Endings ends none. Any number of goroutines may use it.
type Endings struct {
	epochs atomic.Pointer[map[string]int64]
}

// Set replaces what is known. The map must not be changed afterwards.
func (e *Endings) Set(epochs map[string]int64) { e.epochs.Store(&epochs) }

// Ended reports whether c's token was ended.
func (e *Endings) Ended(c Caller) bool {
	if e == nil {
		return false
	}
	epochs := e.epochs.Load()
	return epochs != nil && c.Epoch < (*epochs)[c.MemberID]
}
