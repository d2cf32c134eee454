package stack

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"example.com/fourfold/chassis/port"
	"example.com/fourfold/deploy/system"
)

// maxOffset keeps shifted ports below port.Ephemeral: a client's connection must not take the port of a process that is restarted.
const maxOffset = 15000

// choosePorts returns a port for each name, by its variable ("PORT_ORDER": "9001"), which chooses another one in o.Env, as PORT_OFFSET shifts all
// that are not chosen; and the claims of random ones, which must be closed when the
// stack is down: between the choice and the start lies a build that can take minutes.
func choosePorts(o Options) (ports map[string]string, claims []*port.Claim, err error) {
	ports = map[string]string{}
	offset, err := strconv.Atoi(cmp.Or(o.Env["PORT_OFFSET"], "0"))
	if err != nil || offset < 0 || offset > maxOffset {
		return nil, nil, fmt.Errorf("PORT_OFFSET=%s: it is a number from 0 to %d", o.Env["PORT_OFFSET"], maxOffset)
	}
	for variable, number := range system.Ports(o.Replicas) {
		number += offset
		if chosen := o.Env[variable]; chosen != "" {
			n, err := strconv.Atoi(chosen)
			if err != nil || n < 1 || n > 65535 {
				return nil, nil, fmt.Errorf("%s=%s: a port is a number from 1 to 65535", variable, chosen)
			}
			number = n
		} else if o.RandomPorts {
			var besides []int
			if variable == broker {
				besides = []int{-fastPort}
			}
			claim, err := port.Take(besides...)
			if err != nil {
				return nil, claims, err
			}
			claims = append(claims, claim)
			number = claim.Port
		}
		ports[variable] = strconv.Itoa(number)
	}
	fast := strconv.Itoa(number(ports[broker]) - fastPort)
	if chosen := o.Env[brokerFast]; chosen != "" && chosen != fast {
		return nil, claims, fmt.Errorf("%s=%s: it is always PORT_BROKER - %d: choose that one", brokerFast, chosen, fastPort)
	}
	ports[brokerFast] = fast
	return ports, claims, nil
}

// The broker has a second port that cannot be chosen: it lies this far below the first.
const (
	broker     = "PORT_BROKER"
	brokerFast = "PORT_BROKER_FAST"
	fastPort   = 2
)

// checkPorts returns an error for the ports that something else listens on, which says who it is and what to do.
func checkPorts(ports map[string]string) error {
	var errs []error
	stacks := map[string]bool{}
	for _, variable := range slices.Sorted(maps.Keys(ports)) {
		port, chosen := ports[variable], variable
		if variable == brokerFast {
			chosen = broker
		}
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = l.Close()
			continue
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			errs = append(errs, fmt.Errorf("port %s cannot be used: %w: choose another one by %s", port, err, chosen))
			continue
		}
		who, dir := listener(number(port))
		switch {
		case dir == "":
			errs = append(errs, fmt.Errorf("port %s is taken by %s: end it, or choose another port by %s=%d", port, who, chosen,
				number(port)%10000+20000))
		case !stacks[dir]:
			stacks[dir] = true
			errs = append(errs, fmt.Errorf(
				"the stack in %s has port %s and perhaps more: `make down` there, or shift the ports here by PORT_OFFSET=1000", dir, port))
		}
	}
	return errors.Join(errs...)
}

// listener returns which process listens on a port, "another process" when that cannot be seen, and the data folder of the stack it belongs to,
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
			return fmt.Sprintf("%s (process %d)", program(pid), pid), environment(pid)[marker]
		}
	}
	return "another process", ""
}

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
