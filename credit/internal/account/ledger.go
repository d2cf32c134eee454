package account

// Settled reports whether an entry in s belongs to an order that is paid and not refunded.
func (s Status) Settled() bool { return s == Added || s == Deducting }
