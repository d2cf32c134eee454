package delivery

// Told returns what the order has been told of a slip in s: SHIPPED, DELIVERED, or "" for nothing yet.
func (s Status) Told() string {
	if s == Shipped || s == Delivered {
		return string(s)
	}
	return ""
}

// Legal reports whether a slip can be in s.
func (s Status) Legal() bool {
	for _, t := range transitions {
		if t.To == s {
			return true
		}
	}
	return false
}

// Settled reports whether the slip's order is paid and not refunded.
func (s Status) Settled() bool {
	switch s {
	case Created, Picked, Shipped, Delivered, Held:
		return true
	}
	return false
}
