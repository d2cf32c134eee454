package batched

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/dtm-labs/dtm/dtmsvr/storage"

	"example.com/fourfold/chassis/database"
	"example.com/fourfold/chassis/database/mysqltest"
	"example.com/fourfold/deploy/dtm/migrations"
)

func TestMain(m *testing.M) { mysqltest.Main(m) }

// TestChangedWithoutAnswer: the answer to a batch of changes is lost after the log has made them. Each is made again by itself, and finds out
// that it was made: who asked for it goes on to call the branches.
func TestChangedWithoutAnswer(t *testing.T) {
	t.Parallel()
	at := mysqltest.Config(t)
	db, err := database.Open(at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := database.Migrate(t.Context(), db, migrations.FS); err != nil {
		t.Fatal(err)
	}
	for try := 0; ; try++ {
		gid := func(n int) string { return fmt.Sprintf("%d-%d", try, n) }
		via, lose, lost := mysqltest.LoseAnswers(t, at.DSN, "'"+gid(1)+"','"+gid(2)+"'")
		s := New(nil, func() string { return via })
		lose()
		blocker, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 4 {
			_, err := db.ExecContext(t.Context(), "INSERT INTO trans_global (gid, trans_type, status, query_prepared, protocol) VALUES (?, 'tcc', 'prepared', '', '')", gid(n))
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := blocker.ExecContext(t.Context(), "UPDATE trans_global SET options = 'x' WHERE gid = ?", gid(0)); err != nil {
			t.Fatal(err)
		}
		var changed sync.WaitGroup
		change := func(n int) {
			changed.Go(func() {
				defer func() {
					if x := recover(); x != nil {
						t.Errorf("the change of %s: %v", gid(n), x)
					}
				}()
				now := time.Now()
				g := &storage.TransGlobalStore{Gid: gid(n), Status: "prepared"}
				g.UpdateTime = &now
				s.ChangeGlobalStatus(g, "submitted", []string{"status", "update_time"}, false)
			})
		}
		change(0) // waits, so that the others come together
		for deadline := time.Now().Add(time.Second); ; time.Sleep(time.Millisecond) {
			var waits bool
			err := db.QueryRowContext(t.Context(), "SELECT EXISTS (SELECT 1 FROM information_schema.processlist WHERE db = DATABASE()"+
				" AND info LIKE ?)", "UPDATE trans_global%'"+gid(0)+"'%").Scan(&waits)
			if err != nil {
				t.Fatal(err)
			}
			if waits || time.Now().After(deadline) {
				break
			}
		}
		for n := 1; n < 4; n++ {
			change(n)
		}
		time.Sleep(60 * time.Millisecond) // they have come together, or this is tried again
		if err := blocker.Commit(); err != nil {
			t.Fatal(err)
		}
		changed.Wait()
		if lost() == 1 {
			return
		}
		if try == 20 {
			t.Fatal("no answer was lost")
		}
	}
}
