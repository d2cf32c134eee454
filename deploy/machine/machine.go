// Package machine looks at the machine that a system is brought up on: its memory, disks and ports, before anything is started there. Each error
// is a plain sentence with the remedy.
package machine

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"example.com/fourfold/deploy/progress"
)

const (
	needMemory = 1.5 * (1 << 30)
	needDisk   = 2 * (1 << 30)
)

// Check returns an error for each thing that a system needs and this machine lacks, for data in the folder dir, the broker's store in the folder
// store, and ports by the variable that chooses another one.
func Check(dir, store string, ports map[string]int, log *progress.Log) error {
	step := log.Step("machine")
	memory, free := availableMemory(), freeDisk(dir)
	disk, err := DiskOf(store)
	if err := errors.Join(tooSmall(memory, free, dir), err, disk.Err(), freePorts(ports)); err != nil {
		step.Fail()
		return err
	}
	step.Done("%d cores, %s of memory and %s of disk free", runtime.NumCPU(), size(memory), size(free))
	return disk.Check(log)
}

func tooSmall(memory, disk float64, dir string) error {
	var errs []error
	if memory < needMemory {
		errs = append(errs, fmt.Errorf("%s of memory are free and %s are needed: end something, or give this machine more",
			size(memory), size(needMemory)))
	}
	if disk < needDisk {
		errs = append(errs, fmt.Errorf("%s of disk are free at %s and %s are needed: make room there", size(disk), dir, size(needDisk)))
	}
	return errors.Join(errs...)
}

// availableMemory returns how many bytes are available without swapping: of the machine, or of the container when that has less.
func availableMemory() float64 {
	free := math.Inf(1)
	if f, err := os.Open("/proc/meminfo"); err == nil {
		for scan := bufio.NewScanner(f); scan.Scan(); {
			if kb, ok := strings.CutPrefix(scan.Text(), "MemAvailable:"); ok {
				free = float64(number(strings.Fields(kb)[0])) * 1024
			}
		}
		_ = f.Close()
	}
	limit, err := os.ReadFile("/sys/fs/cgroup/memory.max")
	used, usedErr := os.ReadFile("/sys/fs/cgroup/memory.current")
	if err == nil && usedErr == nil && !strings.HasPrefix(string(limit), "max") {
		free = min(free, float64(number(strings.TrimSpace(string(limit)))-number(strings.TrimSpace(string(used)))))
	}
	return free
}

func freeDisk(dir string) float64 {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return math.Inf(1)
	}
	return float64(s.Bavail) * float64(s.Bsize)
}

// size formats bytes as "412 MB" or "23.1 GB".
func size(bytes float64) string {
	if bytes < 1<<30 {
		return fmt.Sprintf("%.0f MB", bytes/(1<<20))
	}
	return fmt.Sprintf("%.1f GB", bytes/(1<<30))
}

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
