package machine

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"example.com/fourfold/deploy/system"
)

// freePorts returns an error for the ports that something else listens on, which says who it is and what to do.
func freePorts(ports map[string]int) error {
	var errs []error
	systems := map[string]bool{}
	for _, variable := range slices.Sorted(maps.Keys(ports)) {
		port, chosen := ports[variable], variable
		if variable == system.PortBrokerFast {
			chosen = system.PortBroker
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = l.Close()
			continue
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			errs = append(errs, fmt.Errorf("port %d cannot be used: %w: choose another one by %s", port, err, chosen))
			continue
		}
		who, dir := listener(port)
		switch {
		case dir == "":
			errs = append(errs, fmt.Errorf("port %d is taken by %s: end it, or choose another port by %s=%d", port, who, chosen, port%10000+20000))
		case !systems[dir]:
			systems[dir] = true
			errs = append(errs, fmt.Errorf(
				"the system in %s has port %d and perhaps more: `make down` there, or shift the ports here by PORT_OFFSET=1000", dir, port))
		}
	}
	return errors.Join(errs...)
}

// listener returns which process listens on a port, "another process" when that cannot be seen, and the data folder of the system it belongs to,
// "" for none.
func listener(port int) (who, dir string) {
	inodes := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(table)
		if err != nil {
			continue
		}
		for scan := bufio.NewScanner(f); scan.Scan(); {
			// sl local_address rem_address st tx_queue:rx_queue tr:when retrnsmt uid timeout inode
			fields := strings.Fields(scan.Text())
			if len(fields) > 9 && fields[3] == "0A" && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
				inodes["socket:["+fields[9]+"]"] = true
			}
		}
		_ = f.Close()
	}
	files, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, file := range files {
		if link, err := os.Readlink(file); err == nil && inodes[link] {
			pid := number(strings.Split(file, "/")[2])
			return fmt.Sprintf("%s (process %d)", Program(pid), pid), Environment(pid)[Marker]
		}
	}
	return "another process", ""
}

// Marker is the environment variable that every process of a system that runs natively carries; its value is the data folder.
const Marker = "FOURFOLD_DATA"

// Environment returns the environment that a process was started with, nil when it cannot be read.
func Environment(pid int) map[string]string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return nil
	}
	env := map[string]string{}
	for v := range strings.SplitSeq(string(data), "\x00") {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	return env
}

// Program returns the short name of a process's program.
func Program(pid int) string {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return "another process"
	}
	return strings.TrimSpace(string(name))
}
