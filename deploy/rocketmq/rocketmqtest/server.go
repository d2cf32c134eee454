package rocketmqtest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"example.com/fourfold/chassis/port"
	"example.com/fourfold/chassis/tied"
	"example.com/fourfold/deploy/rocketmq/setup"
)

// Server is a running name server and broker on 127.0.0.1 that die with this process.
type Server struct {
	// NameServer is the name server's address, host:port, and Addr the broker's.
	NameServer, Addr string
	// AccessKey and SecretKey are empty unless the broker asks who sends: see StartAsking.
	AccessKey, SecretKey string

	dir, root string
	settings  string         // additional lines of broker.conf
	ports     [3]*port.Claim // of the name server, of the broker, and of its metrics
	names     *exec.Cmd
	broker    *exec.Cmd
}

// Start starts a name server and a broker in a temporary folder. They die with this process, even when that is killed. The broker asks about
// half messages sooner than in operation: after 2 s, then every second. settings are additional lines of its broker.conf; of several lines with
// the same name the last one counts.
func Start(settings ...string) (*Server, error) {
	root, err := findRoot()
	if err != nil {
		return nil, err
	}
	if out, err := exec.Command(filepath.Join(setup.Source(root), "fetch.sh")).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("fetch RocketMQ: %w\n%s", err, out)
	}
	dir, err := os.MkdirTemp("", "fourfold-rocketmq-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, root: root}
	for _, line := range append([]string{"transactionTimeOut=2000", "transactionCheckInterval=1000"}, settings...) {
		s.settings += line + "\n"
	}
	if err := s.start(); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// StartAsking is Start of a broker that asks who sends, and permits everything to who has the server's keys.
func StartAsking(settings ...string) (*Server, error) {
	const name, secret = "shop", "a secret of the shop"
	s, err := Start(append([]string{
		"authenticationEnabled=true",
		"authenticationProvider=org.apache.rocketmq.auth.authentication.provider.DefaultAuthenticationProvider",
		"authenticationMetadataProvider=org.apache.rocketmq.auth.authentication.provider.LocalAuthenticationMetadataProvider",
		`initAuthenticationUser={"username":"` + name + `","password":"` + secret + `"}`,
		`innerClientAuthenticationCredentials={"accessKey":"` + name + `","secretKey":"` + secret + `"}`,
	}, settings...)...)
	if err == nil {
		s.AccessKey, s.SecretKey = name, secret
	}
	return s, err
}

func (s *Server) start() error {
	var err error
	for claim, besides := range map[**port.Claim][]int{&s.ports[0]: nil, &s.ports[1]: {-fastPort}, &s.ports[2]: nil} {
		if *claim, err = port.Take(besides...); err != nil {
			return err
		}
	}
	s.NameServer, s.Addr = s.ports[0].Addr(), s.ports[1].Addr()
	err = setup.Write(setup.Settings{Root: s.root, Dir: s.dir, NameServerPort: strconv.Itoa(s.ports[0].Port),
		BrokerPort: strconv.Itoa(s.ports[1].Port), MetricsPort: strconv.Itoa(s.ports[2].Port), BrokerMore: s.settings})
	if err != nil {
		return err
	}
	if s.names, err = s.run(setup.NameServer); err != nil {
		return err
	}
	if err := s.await(s.NameServer, setup.NameServer, s.names); err != nil {
		return err
	}
	return s.Restart()
}

// Restart starts the broker again after Kill, with its data, and waits until it answers.
func (s *Server) Restart() error {
	var err error
	if s.broker, err = s.run(setup.Broker); err != nil {
		return err
	}
	return s.await(s.Addr, setup.Broker, s.broker)
}

// Lose removes what a killed broker has stored, topics and messages.
func (s *Server) Lose() error { return os.RemoveAll(filepath.Join(s.dir, "store")) }

// Kill ends the broker as a crash would. Its data stays for Restart.
func (s *Server) Kill() {
	_ = s.broker.Process.Kill()
	_ = s.broker.Wait()
}

// Freeze stops the broker without closing its connections, until Thaw.
func (s *Server) Freeze() error { return tied.Freeze(s.broker.Process) }

// Thaw lets a frozen broker go on.
func (s *Server) Thaw() error { return s.broker.Process.Signal(syscall.SIGCONT) }

// Said reports whether the broker has logged text in a warning or an error.
func (s *Server) Said(text string) (bool, error) {
	log, err := os.ReadFile(s.log(setup.Broker))
	return bytes.Contains(log, []byte(text)), err
}

// PIDs returns the process ids of the name server and of the broker.
func (s *Server) PIDs() []int { return []int{s.names.Process.Pid, s.broker.Process.Pid} }

// Stop kills both and removes their data.
func (s *Server) Stop() {
	for _, cmd := range []*exec.Cmd{s.broker, s.names} {
		if cmd != nil && cmd.Process != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	for _, claim := range s.ports {
		if claim != nil {
			claim.Close()
		}
	}
	_ = os.RemoveAll(s.dir)
}

// run starts the name server or the broker, tied to this process.
func (s *Server) run(name string) (*exec.Cmd, error) {
	log, err := os.OpenFile(s.log(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command("java", "@"+setup.Args(s.dir, name))
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	return cmd, tied.Start(cmd)
}

// await waits until the named process listens on addr.
func (s *Server) await(addr, name string, cmd *exec.Cmd) error {
	for deadline := time.Now().Add(4 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return conn.Close()
		}
		if cmd.Process.Signal(syscall.Signal(0)) != nil {
			break
		}
	}
	said, _ := os.ReadFile(s.log(name))
	return fmt.Errorf("%s does not answer on %s; its last words: %s", name, addr, said[max(0, len(said)-2000):])
}

func (s *Server) log(name string) string { return filepath.Join(s.dir, name+".log") }

// findRoot returns the folder of the repository that the working folder is in.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(setup.Source(dir), "fetch.sh")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("no deploy/rocketmq above the working folder")
}

// fastPort is how far the broker's second port lies below its first.
const fastPort = 2

// Listening returns the addresses on which pid listens, as they are in /proc: hexadecimal, 0100007F:… is 127.0.0.1.
func Listening(pid int) ([]string, error) {
	inodes := map[string]bool{}
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return nil, err
	}
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "socket:[") {
			inodes[strings.Trim(to[len("socket:"):], "[]")] = true
		}
	}
	var listening []string
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == "0A" && inodes[f[9]] {
				listening = append(listening, f[1])
			}
		}
	}
	return listening, nil
}
