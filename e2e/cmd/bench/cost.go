package main

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// cost is what something has cost so far, by name: counted by the database server, by the services' gRPC servers and by the kernel. Its
// differences do not depend on the speed of the machine, but for the CPU times.
type cost map[string]float64

// The names of a cost. cpuOf is followed by a process' name, userOf by a database user's.
const (
	commits    = "durable commits"
	statements = "statements"
	// trips is an upper bound: of what goes several statements at a time only the batches of services are known, not the coordinator's and not the
	// pairs of a consumer.
	trips    = "round trips to the database"
	sent     = "bytes to the database"
	received = "bytes from the database"
	calls    = "remote calls"
	fsyncs   = "fsyncs"
	cpu      = "CPU ms"
	cpuOf    = "CPU ms of "
)

// status are the server's variables that are counted.
var status = map[string]string{"QUESTIONS": statements, "BYTES_RECEIVED": sent, "BYTES_SENT": received, "INNODB_DATA_FSYNCS": fsyncs}

// cost reads all counters.
func (s *shop) cost(ctx context.Context) (cost, error) {
	c := cost{}
	if err := s.database(ctx, c); err != nil {
		return nil, err
	}
	for _, name := range s.stack.Names() {
		if err := s.cpu(ctx, c, name); err != nil {
			return nil, err
		}
	}
	for name, url := range s.stack.Target().Admin {
		if err := counters(ctx, c, name, url); err != nil {
			return nil, err
		}
	}
	c[trips] += c[statements]
	return c, nil
}

// minus returns what was counted since before.
func (c cost) minus(before cost) cost {
	d := cost{}
	for name := range c {
		d[name] = c[name] - before[name]
	}
	return d
}

// countCommits makes the server count the commits that wrote something.
func countCommits(ctx context.Context, db *sql.DB) error {
	_, err := db.ExecContext(ctx, "SET GLOBAL innodb_monitor_enable = 'trx_rw_commits'")
	return err
}

func (s *shop) database(ctx context.Context, c cost) error {
	rows, err := s.root.QueryContext(ctx, "SELECT UPPER(variable_name), variable_value FROM information_schema.global_status"+
		" UNION ALL SELECT 'COMMITS', COUNT FROM information_schema.innodb_metrics WHERE name = 'trx_rw_commits'")
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			return err
		}
		as, counted := status[name]
		if name == "COMMITS" {
			as, counted = commits, true
		}
		if counted {
			if c[as], err = strconv.ParseFloat(text, 64); err != nil {
				return err
			}
		}
	}
	return rows.Err()
}

// tick is the kernel's unit of CPU times.
const tick = 10 * time.Millisecond

// cpu adds the CPU time of a process of the stack.
func (s *shop) cpu(ctx context.Context, c cost, name string) error {
	pid, err := s.stack.PID(ctx, name)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:])) // from the third one on
	var ticks float64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return err
		}
		ticks += n
	}
	ms := ticks * float64(tick/time.Millisecond)
	c[cpuOf+name] += ms
	c[cpu] += ms
	return nil
}

// packed and packets match the counts of statements that went several at a time, and of the times.
var (
	packed  = regexp.MustCompile(`^database_batch_statements_total(?:\{.*\})? (\S+)$`)
	packets = regexp.MustCompile(`^database_batch_trips_total(?:\{.*\})? (\S+)$`)
)

// served and asked match the counts of calls that a service has answered, and that it has made of the coordinator, which counts none itself.
var (
	served = regexp.MustCompile(`^rpc_server_[a-z_]*duration[a-z_]*_count\{.*\} (\S+)$`)
	asked  = regexp.MustCompile(`^rpc_client_[a-z_]*duration[a-z_]*_count\{.*dtmgimp\.Dtm.*\} (\S+)$`)
)

// counters adds the calls that the process at url has answered, and takes the statements that went with others from the round trips. The
// coordinator's port is not one of ours.
func counters(ctx context.Context, c cost, name, url string) error {
	if strings.HasPrefix(name, "dtm") {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("the metrics of %s: %s %.200s", name, resp.Status, text)
	}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		for _, counted := range []struct {
			pattern *regexp.Regexp
			as      string
			sign    float64
		}{{served, calls, 1}, {asked, calls, 1}, {packed, trips, -1}, {packets, trips, 1}} {
			if m := counted.pattern.FindStringSubmatch(lines.Text()); m != nil {
				n, err := strconv.ParseFloat(m[1], 64)
				if err != nil {
					return err
				}
				c[counted.as] += counted.sign * n
			}
		}
	}
	return nil
}
