package accessv1

// The roles that access.proto gives levels to.
const (
	Shopper  = "shopper"
	Operator = "operator"
)
