package prepare

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/deploy/system"
)

// Reader is the user that may read what people look at, and write nothing. Its password is printed by `make demo`, so it reads neither the
// coordinator's log, which holds the MACs of all branches, nor a password's hash, nor the answers to other people's calls.
const Reader = "reader"

// everyService are the tables that each service has for its messages and alerts.
var everyService = []string{"mq_outbox", "mq_inbox", "mq_position", "mq_timer", "mq_generation", "mq_audit", "alert"}

// everyParticipant are those that each participant has for its branches.
var everyParticipant = append([]string{"barrier", "branch_not_tried"}, everyService...)

// Readable are the tables that Reader reads, by database; of one with a list of columns only those. A new table goes here or into Hidden.
var Readable = map[string][]string{
	"shop_order":     append([]string{"orders", "order_line", "payment_attempt", "order_event", "product", "conservation"}, everyParticipant...),
	"shop_inventory": append([]string{"product", "stock", "stock_freeze"}, everyParticipant...),
	"shop_credit":    append([]string{"credit_account", "credit_entry"}, everyParticipant...),
	"shop_wms":       append([]string{"delivery_slip", "delivery_line", "warehouse"}, everyParticipant...),
	"shop_member":    append([]string{"member (id, phone, email, name, role, created_at)"}, everyService...),
	"shop_notify":    append([]string{"contact", "notification", "inbox", "sms_spent"}, everyService...),
}

// Hidden are the other tables, by database; under "" those of every database.
var Hidden = map[string][]string{
	"":               {"goose_db_version", "mq_version", "alert_version", "tcc_version"}, // which migrations were made
	"shop_order":     {"idempotency", "buyer"},                                           // answers, by the key that repeats them; locks
	"shop_inventory": {"idempotency"},
	"shop_member":    {"allowance", "member_address"},           // who is guessed at, and from where members sign in
	"shop_dtm":       {"trans_global", "trans_branch_op", "kv"}, // the MACs that confirm and cancel, and the requests
}

// Owner returns the user that owns the database of a service, or of the coordinator: as that user it migrates, and does nothing else.
func Owner(service string) string { return service + "_owner" }

// accounts returns the users of the database server.
func accounts() []string {
	names := []string{Reader}
	for _, service := range databases() {
		names = append(names, service, Owner(service))
	}
	return names
}

// databases returns those that have a database of their own, shop_<name>.
func databases() []string { return append([]string{"dtm"}, system.Databases()...) }

// taken are the privileges in its database that the user by which a service runs must not have: all but database.Privileges. They are named so
// that it keeps these at every moment, while an older version's grant is cut.
const taken = "CREATE, DROP, ALTER, INDEX, REFERENCES, CREATE TEMPORARY TABLES, LOCK TABLES, CREATE VIEW, SHOW VIEW, CREATE ROUTINE, " +
	"ALTER ROUTINE, EXECUTE, EVENT, TRIGGER, DELETE HISTORY, GRANT OPTION"

// Users returns the statements that make a database for each service and for the coordinator, the user by which it runs, who reads and writes
// rows, the Owner, and Reader. They come from the hosts that from matches ("127.0.0.1", "%"). The statements may run any number of times, also
// while the services run.
func Users(sec Secrets, from string) []byte {
	var b bytes.Buffer
	user := func(name string) {
		fmt.Fprintf(&b, "CREATE USER IF NOT EXISTS '%s'@'%s';\n", name, from)
		fmt.Fprintf(&b, "ALTER USER '%s'@'%s' IDENTIFIED BY '%s';\n", name, from, sec.MySQL[name])
	}
	for _, service := range databases() {
		fmt.Fprintf(&b, "CREATE DATABASE IF NOT EXISTS shop_%s;\n", service)
		user(service)
		user(Owner(service))
		fmt.Fprintf(&b, "GRANT %s ON `shop\\_%s`.* TO '%[2]s'@'%s';\n", database.Privileges, service, from)
		fmt.Fprintf(&b, "REVOKE %s ON `shop\\_%s`.* FROM '%[2]s'@'%s';\n", taken, service, from)
		fmt.Fprintf(&b, "GRANT ALL ON `shop\\_%s`.* TO '%s'@'%s';\n", service, Owner(service), from)
	}
	user(Reader) // ReaderGrants grants what it may read, when the services have made their tables
	return b.Bytes()
}

// ReaderGrants returns the statements that let Reader read what is Readable, and nothing that an earlier version granted. The tables must be
// there: MariaDB grants nothing on a table that is yet to be made.
func ReaderGrants(from string) string {
	to := fmt.Sprintf("'%s'@'%s'", Reader, from)
	var b strings.Builder
	fmt.Fprintf(&b, "REVOKE ALL PRIVILEGES, GRANT OPTION FROM %s;\n", to)
	for _, database := range slices.Sorted(maps.Keys(Readable)) {
		for _, entry := range Readable[database] {
			table, columns, _ := strings.Cut(entry, " ")
			fmt.Fprintf(&b, "GRANT SELECT %s ON %s.%s TO %s;\n", columns, database, table, to)
		}
	}
	return b.String()
}
