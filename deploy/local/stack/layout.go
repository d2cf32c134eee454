package stack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// layout names the data that this version's services can use. Change it together with a change that they cannot make of the data themselves.
const layout = "2026-11-29\n"

// layoutFile holds the layout of a data folder.
const layoutFile = "layout"

// checkLayout fails when dir holds data of another layout, and changes nothing then. It notes the layout of a folder without data.
func checkLayout(dir string) error {
	path := filepath.Join(dir, layoutFile)
	got, err := os.ReadFile(path)
	if err == nil && string(got) == layout {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "mysql")); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%[1]s holds data of another version, and there is no way from that: keep it with `make down; mv %[1]s %[1]s.old`, and begin anew",
			short(dir))
	}
	return os.WriteFile(path, []byte(layout), 0o600)
}
