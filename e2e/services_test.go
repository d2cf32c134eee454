package e2e_test

import (
	"slices"

	"example.com/fourfold/deploy/system"
)

// What the tests go through.
var (
	// participants take part beside order. They have the failpoints <name>/try, /confirm and /cancel, and <name>-refund/… .
	participants = func() (names []string) {
		for _, p := range system.Processes {
			if p.Participant && p.Name != "order" {
				names = append(names, p.Name)
			}
		}
		return names
	}()
	// services have a database shop_<name> each.
	services = system.Databases()
	// ours are the processes that we wrote or start our own way: all but the databases and the broker.
	ours = slices.Concat(services, []string{"dtm", "gateway"})
)
