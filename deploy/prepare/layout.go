package prepare

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

// CheckLayout fails when the folder dir has data, the file or folder of that name in it, of another layout, and changes nothing then; remedy
// says how to put it aside. It notes the layout of a folder without data.
func CheckLayout(dir, data, remedy string) error {
	path := filepath.Join(dir, layoutFile)
	got, err := os.ReadFile(path)
	if err == nil && string(got) == layout {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, data)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is data of another version, and no way from that: %s", remedy)
	}
	return os.WriteFile(path, []byte(layout), 0o600)
}
