package batch

import "time"

// Waiting returns how many calls wait for the next batch.
func (r *Runner[R]) Waiting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.waiting)
}

// Patient lets others wait for a batch as long as it takes.
func (r *Runner[R]) Patient() { r.late = time.Hour }

// Impatient undoes Patient.
func (r *Runner[R]) Impatient() { r.late = late }
