package stock

// Settled reports whether a line in s belongs to an order that is paid and not refunded.
func (s FreezeStatus) Settled() bool { return s == Deducted || s == Returning }
