package mq

import (
	"embed"
	"fmt"
	"io/fs"
	"time"

	"example.com/fourfold/chassis/database"
)

//go:embed schema/*.sql
var schema embed.FS

// Tables returns the package's tables: database.Migrate(ctx, db, migrations.FS, mq.Tables()). A service that only publishes, or only consumes,
// needs them too.
func Tables() database.Part {
	sub, err := fs.Sub(schema, "schema")
	if err != nil {
		panic(err) // the folder is embedded
	}
	return database.Part{Name: "mq", Migrations: sub}
}

// MinKeep is the least time for which closed rows are kept: the broker keeps messages for six days (fileReservedTime) and may deliver any of
// them again, and the row shows that it had its effect. Six days are the least: a handler of a group without order also needs a guard of its own
// for a message that the broker kept for longer than that.
const MinKeep = 7 * 24 * time.Hour

// Retentions returns the rules that delete closed rows older than keep, 0 for never. It fails when keep is not 0 and less than MinKeep.
func Retentions(keep time.Duration) ([]database.Retention, error) {
	if keep != 0 && keep < MinKeep {
		return nil, fmt.Errorf("messages' rows kept for %v: at least %v, longer than the broker keeps messages; 0 keeps them for ever",
			keep, MinKeep)
	}
	return []database.Retention{
		{Table: "mq_outbox", Column: "closed_at", Keep: keep},
		{Table: "mq_inbox", Column: "closed_at", Keep: keep},
		{Table: "mq_timer", Column: "closed_at", Keep: keep},
	}, nil
}
