package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"

	"example.com/fourfold/chassis/port"
	"example.com/fourfold/chassis/tied"
	"example.com/fourfold/deploy/system"
)

// sample makes payments as DTM's examples do, with DTM's server as published: the two programs of deploy/dtm/plain, at their defaults. They work
// on the tables of local, which has the orders and checks the books. The server's log is in the database dtm.
type sample struct {
	db       *sql.DB // as root
	logs     string
	payments *grpc.ClientConn
	// ends end the two processes, and give their ports back.
	ends []func()
}

// openSample starts both on the database server at addr, of which db is the root. They log to the folder logs. Close also what is returned with
// an error.
func openSample(ctx context.Context, db *sql.DB, addr, logs string) (s *sample, err error) {
	s = &sample{db: db, logs: logs}
	root, err := system.Root()
	if err != nil {
		return s, err
	}
	dir := filepath.Join(root, "bin/dtm-plain")
	if _, err := os.Stat(dir); err != nil {
		return s, fmt.Errorf("make bench builds it: %w", err)
	}
	password := rand.Text()
	if err := s.tables(ctx, dir, password); err != nil {
		return s, err
	}
	serves := []string{"PAYMENTS", "ORDER", "INVENTORY", "CREDIT", "WMS"}
	ports, err := s.claim(append(serves, "HTTP", "GRPC"))
	if err != nil {
		return s, err
	}
	dtm := exec.Command(filepath.Join(dir, "dtm"), "-r") // makes its tables
	dtm.Dir = dir
	dtm.Env = []string{"HTTP_PORT=" + ports["HTTP"], "GRPC_PORT=" + ports["GRPC"], "STORE_DRIVER=mysql", "STORE_HOST=127.0.0.1",
		"STORE_PORT=" + addr[strings.LastIndexByte(addr, ':')+1:], "STORE_USER=sample", "STORE_PASSWORD=" + password}
	if err := s.start(ctx, dtm, ports["GRPC"]); err != nil {
		return s, err
	}
	program := exec.Command(filepath.Join(dir, "sample"))
	program.Env = []string{"DTM_ADDR=" + host + ports["GRPC"], "DSN=sample:" + password + "@tcp(" + addr + ")/?interpolateParams=true"}
	var listens []string
	for _, name := range serves {
		program.Env = append(program.Env, name+"_ADDR="+host+ports[name])
		listens = append(listens, ports[name])
	}
	if err := s.start(ctx, program, listens...); err != nil {
		return s, err
	}
	s.payments, err = grpc.NewClient(host+ports["PAYMENTS"], grpc.WithTransportCredentials(insecure.NewCredentials()))
	return s, err
}

// host is where both listen.
const host = "127.0.0.1:"

// claim returns a free port for each name.
func (s *sample) claim(names []string) (map[string]string, error) {
	ports := map[string]string{}
	for _, name := range names {
		c, err := port.Take()
		if err != nil {
			return nil, err
		}
		s.ends = append(s.ends, c.Close)
		ports[name] = strconv.Itoa(c.Port)
	}
	return ports, nil
}

// tables makes DTM's barrier in each participant's database, by DTM's own script, a database for its log, and a user for both processes.
func (s *sample) tables(ctx context.Context, dir, password string) error {
	barrier, err := os.ReadFile(filepath.Join(dir, "sqls/dtmcli.barrier.mysql.sql"))
	if err != nil {
		return err
	}
	statements := []string{"CREATE DATABASE dtm", "CREATE USER sample@127.0.0.1 IDENTIFIED BY '" + password + "'",
		"GRANT ALL ON dtm.* TO sample@127.0.0.1", "GRANT ALL ON `bench\\_%`.* TO sample@127.0.0.1",
		"SET GLOBAL max_connections = 1000"} // each way keeps some while others take their turns
	for service := range copied {
		own := strings.ReplaceAll(string(barrier), "dtm_barrier", "bench_"+service)
		statements = append(statements, strings.Split(own, ";")...)
	}
	for _, statement := range statements {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := s.db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// start starts a program that does not outlive this one, and returns when it listens at ports.
func (s *sample) start(ctx context.Context, cmd *exec.Cmd, ports ...string) error {
	log, err := os.Create(filepath.Join(s.logs, filepath.Base(cmd.Path)+"-plain.log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd.Env = append(os.Environ(), cmd.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	// Ctrl-C is for this process, which ends the others after what is under way.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := tied.Start(cmd); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	s.ends = append(s.ends, func() { _ = cmd.Process.Kill(); <-ended })
	for _, p := range ports {
		for {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", host+p)
			if err == nil {
				_ = conn.Close()
				break
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-ended:
				said, _ := os.ReadFile(log.Name())
				return fmt.Errorf("%s: %v\n%s", cmd.Path, cmd.ProcessState, said[max(0, len(said)-2000):])
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

// close ends both processes.
func (s *sample) close() {
	if s.payments != nil {
		_ = s.payments.Close()
	}
	for _, end := range s.ends {
		end()
	}
}

// pay pays one order.
func (s *sample) pay(ctx context.Context, j job) error {
	payment, err := structpb.NewStruct(map[string]any{"order": j.order, "member": j.member, "sku": j.sku})
	if err != nil {
		return err
	}
	return s.payments.Invoke(ctx, "/sample.Payments/Pay", payment, &emptypb.Empty{})
}

// quiet waits until the server has no transaction open.
func (s *sample) quiet(ctx context.Context) error {
	return awaitNone(ctx, s.db, "SELECT COUNT(*) FROM dtm.trans_global WHERE status IN ('prepared', 'submitted', 'aborting')")
}
