package build

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"example.com/fourfold/deploy/progress"
)

// modules is how much Go downloads for the programs where its cache has nothing: the archives of what `go list -deps` names for them, for
// process-compose and for the coordinator, 163 MB on 2026-11-30.
const modules = "about 160 MB"

// sayModules says how much is downloaded when Go's cache of modules has nothing yet.
func sayModules(ctx context.Context, log *progress.Log) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMODCACHE").Output()
	if err != nil {
		return // the build says what is wrong
	}
	if _, err := os.Stat(filepath.Join(strings.TrimSpace(string(out)), "cache/download/google.golang.org/grpc")); err != nil {
		log.Say("build", "%s of Go's modules", modules)
	}
}
