package deadlock

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dtm-labs/dtm/dtmsvr/storage"
	"github.com/go-sql-driver/mysql"
)

var victim = &mysql.MySQLError{Number: 1213, SQLState: [5]byte{'4', '0', '0', '0', '1'}, Message: "Deadlock found"}

// TestRepeat: only deadlocks are repeated, whether they are returned or thrown, and only a few times.
func TestRepeat(t *testing.T) {
	t.Parallel()
	other := errors.New("connection lost")
	for name, tt := range map[string]struct {
		f     func(n int) error // n counts the calls
		calls int
		says  string
	}{
		"done at once":      {func(int) error { return nil }, 1, ""},
		"returned":          {func(n int) error { return only(n < 3, fmt.Errorf("update: %w", victim)) }, 3, ""},
		"thrown":            {func(n int) error { panics(n < 3, victim); return nil }, 3, ""},
		"without end":       {func(int) error { return victim }, attempts, "nothing was changed"},
		"another error":     {func(int) error { return other }, 1, "connection lost"},
		"another panic":     {func(int) error { panics(true, other); return nil }, 1, "panic: connection lost"},
		"no error at all":   {func(int) error { panic("index out of range") }, 1, "panic: index"},
		"then another one":  {func(n int) error { panics(n == 1, victim); return other }, 2, "connection lost"},
		"a lock not waited": {func(int) error { return &mysql.MySQLError{Number: 1205} }, 1, "1205"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			err := func() (err error) {
				defer func() {
					if x := recover(); x != nil {
						err = fmt.Errorf("panic: %v", x)
					}
				}()
				return Repeat("submitted", "gid", func() error {
					calls++
					return tt.f(calls)
				})
			}()
			if calls != tt.calls {
				t.Errorf("%d calls", calls)
			}
			if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func only(when bool, err error) error {
	if when {
		return err
	}
	return nil
}

func panics(when bool, err error) {
	if when {
		panic(err)
	}
}

// spoiling is a store whose first attempts fail after they have changed their arguments, as DTM's do.
type spoiling struct {
	storage.Store
	t     *testing.T
	calls int
}

func (s *spoiling) MaySaveNewTrans(global *storage.TransGlobalStore, branches []storage.TransBranchStore) error {
	if s.calls++; global.ID != 0 || global.Status != "prepared" || branches[0].ID != 0 {
		s.t.Errorf("attempt %d got %v %v", s.calls, global, branches)
	}
	global.ID, global.Status, branches[0].ID = 7, "spoiled", 8
	return only(s.calls < 3, victim)
}

// TestArgumentsAreRestored: each attempt gets the arguments as they were; the caller sees what the last one made of them.
func TestArgumentsAreRestored(t *testing.T) {
	t.Parallel()
	below := &spoiling{t: t}
	global, branches := &storage.TransGlobalStore{Gid: "gid", Status: "prepared"}, make([]storage.TransBranchStore, 1)
	if err := (Store{below}).MaySaveNewTrans(global, branches); err != nil {
		t.Fatal(err)
	}
	if below.calls != 3 || global.ID != 7 || branches[0].ID != 8 {
		t.Errorf("after %d calls: %v %v", below.calls, global, branches)
	}
}
