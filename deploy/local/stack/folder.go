package stack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// findRoot returns the folder of the repository that the working folder is in.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "deploy/local/process-compose.yaml")); err == nil {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("%s is not inside the repository: change into it", dir)
		}
	}
}

// dataDir returns dir's canonical name, by which its processes are known.
func dataDir(dir string) (string, error) {
	if dir == "" {
		return "", errors.New("no data folder was named")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(dir, "'\"`$\\#\n") {
		return "", fmt.Errorf("the folder %s has a quote, $, # or \\ in its name: use another one", dir)
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	return dir, nil
}

// short returns a path relative to the working folder when it is inside.
func short(path string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, path); err == nil && !strings.HasPrefix(rel, "..") {
			return rel
		}
	}
	return path
}
