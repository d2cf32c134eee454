package e2e_test

import (
	"slices"

	"example.com/fourfold/deploy/system"
)

// What the tests go through. A service that is added to the stack, and one that takes part in the payment, are added here.
var (
	// participants take part beside order. They have the failpoints <name>/try, /confirm and /cancel, and <name>-refund/… .
	participants = []string{"inventory", "credit", "wms"}
	// services have a database shop_<name> each.
	services = system.Databases()
	// ours are the processes that we wrote or start our own way: all but the databases and the broker.
	ours = slices.Concat(services, []string{"dtm", "gateway"})
)
