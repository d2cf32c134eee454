package stack

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/fourfold/deploy/prepare"
	"example.com/fourfold/deploy/system"
)

// requireAccounts requires that the services and the coordinator of a healthy stack run as users that cannot change a table, and that nobody is
// connected as the owner of their tables.
func requireAccounts(t *testing.T, s *Stack) {
	t.Helper()
	for _, service := range append(system.Databases(), "dtm") {
		database := "shop_" + service
		var others, running int
		require.NoError(t, openDB(t, s.OwnerDSN(database)).QueryRowContext(t.Context(), // a user sees its own connections
			"SELECT COUNT(*) FROM information_schema.processlist WHERE id <> CONNECTION_ID()").Scan(&others))
		assert.Zero(t, others, "%s goes on as the owner of its tables", service)
		db := openDB(t, s.DSN(database))
		require.NoError(t, db.QueryRowContext(t.Context(),
			"SELECT COUNT(*) FROM information_schema.processlist WHERE id <> CONNECTION_ID()").Scan(&running))
		assert.Positive(t, running, service)
		for _, statement := range []string{"CREATE TABLE more (n INT)", "DROP TABLE goose_db_version", "TRUNCATE TABLE goose_db_version"} {
			_, err := db.ExecContext(t.Context(), statement)
			assert.ErrorContains(t, err, "denied", "%s: %s", service, statement)
		}
	}
}

// oneAccount makes of a stack what an earlier version had: one user for each service, who may do anything in its database.
func oneAccount(t *testing.T, s *Stack) {
	t.Helper()
	old := s.secrets
	old.MySQL = map[string]string{prepare.Reader: s.secrets.MySQL[prepare.Reader]}
	for _, service := range append(system.Databases(), "dtm") {
		old.MySQL[service] = s.secrets.MySQL[service]
		require.NoError(t, s.asRoot(t.Context(), fmt.Sprintf("DROP USER '%s'@'%s'; GRANT ALL ON `shop\\_%s`.* TO '%[3]s'@'%[2]s'",
			prepare.Owner(service), here, service)))
	}
	text, err := json.Marshal(old)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "secrets.json"), text, 0o600))
}
