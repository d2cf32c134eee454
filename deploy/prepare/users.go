package stack

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
)

// reader is the user that may read what people look at, and write nothing. Its password is printed by `make demo`, so it reads neither the
// coordinator's log, which holds the MACs of all branches, nor a password's hash, nor the answers to other people's calls.
const reader = "reader"

// everyService are the tables that each service has for its messages and alerts.
var everyService = []string{"mq_outbox", "mq_inbox", "mq_position", "mq_timer", "mq_generation", "mq_audit", "alert"}

// everyParticipant are those that each participant has for its branches.
var everyParticipant = append([]string{"barrier", "branch_not_tried"}, everyService...)

// readable are the tables that reader reads, by database; of one with a list of columns only those. A new table goes here or into hidden.
var readable = map[string][]string{
	"shop_order":     append([]string{"orders", "order_line", "payment_attempt", "order_event", "product", "conservation"}, everyParticipant...),
	"shop_inventory": append([]string{"product", "stock", "stock_freeze"}, everyParticipant...),
	"shop_credit":    append([]string{"credit_account", "credit_entry"}, everyParticipant...),
	"shop_wms":       append([]string{"delivery_slip", "delivery_line", "warehouse"}, everyParticipant...),
	"shop_member":    append([]string{"member (id, phone, email, name, role, created_at)"}, everyService...),
	"shop_notify":    append([]string{"contact", "notification", "inbox"}, everyService...),
}

// hidden are the other tables, by database; under "" those of every database.
var hidden = map[string][]string{
	"":               {"goose_db_version", "mq_version", "alert_version", "tcc_version"}, // which migrations were made
	"shop_order":     {"idempotency"},                                                    // answers, by the key that repeats them
	"shop_inventory": {"idempotency"},
	"shop_dtm":       {"trans_global", "trans_branch_op", "kv"}, // the MACs that confirm and cancel, and the requests
}

// grantReader lets reader read what is readable, and nothing that an earlier version granted. The tables must be there: MariaDB grants nothing
// on a table that is yet to be made.
func (s *Stack) grantReader(ctx context.Context) error {
	to := fmt.Sprintf("'%s'@'127.0.0.1'", reader)
	var b strings.Builder
	fmt.Fprintf(&b, "REVOKE ALL PRIVILEGES, GRANT OPTION FROM %s;\n", to)
	for _, database := range slices.Sorted(maps.Keys(readable)) {
		for _, entry := range readable[database] {
			table, columns, _ := strings.Cut(entry, " ")
			fmt.Fprintf(&b, "GRANT SELECT %s ON %s.%s TO %s;\n", columns, database, table, to)
		}
	}
	return s.asRoot(ctx, b.String())
}

// asRoot runs statements as the database's root, who connects over the socket only.
func (s *Stack) asRoot(ctx context.Context, statements string) error {
	cmd := exec.CommandContext(ctx, "mariadb", "--no-defaults", "--user="+userName(), "--socket=mysql/mysql.sock")
	cmd.Dir = s.dir // a socket's path has at most 108 bytes
	cmd.Stdin = strings.NewReader(statements)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mariadb: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}
