package stack

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"example.com/fourfold/deploy/machine"
)

// member is one process of a stack, found by its mark.
type member struct {
	pid  int
	name string // as in process-compose.yaml, or "process-compose"
}

// members returns the processes that carry the mark of dir.
func members(dir string) []member {
	var found []member
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		pid := atoi(strings.Split(file, "/")[2])
		env := machine.Environment(pid)
		if env[machine.Marker] != dir || pid == os.Getpid() {
			continue
		}
		name := env["PC_PROC_NAME"]
		if name == "" {
			name = machine.Program(pid)
		}
		found = append(found, member{pid, name})
	}
	return found
}

// alive reports whether a process runs; a zombie does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// pid (name) state …; the name may hold anything.
	_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')'):]), " ")
	return rest != "" && rest[0] != 'Z' && rest[0] != 'X'
}

// replaced reports whether the program of a process was built anew since it started.
func replaced(pid int) bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && strings.HasSuffix(exe, " (deleted)")
}

// memory returns the resident memory of a process in bytes. Pages that several processes share count in parts.
func memory(pid int) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		if kb, ok := strings.CutPrefix(line, "Pss:"); ok {
			return int64(atoi(strings.Fields(kb)[0])) << 10
		}
	}
	return 0
}

// signal sends sig to each of dir's processes in group, through a handle that cannot mean another process.
func signal(dir string, group []member, sig syscall.Signal) {
	for _, m := range group {
		p, err := os.FindProcess(m.pid)
		if err != nil {
			continue
		}
		if machine.Environment(m.pid)[machine.Marker] == dir {
			_ = p.Signal(sig)
		}
		_ = p.Release()
	}
}

// awaitGone waits until a process is gone.
func awaitGone(ctx context.Context, pid int) error {
	for alive(pid) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("process %d does not end: %w", pid, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
