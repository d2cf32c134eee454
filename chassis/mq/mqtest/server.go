package mqtest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Server is a running name server and broker on 127.0.0.1 whose data goes with the process.
type Server struct {
	// NameServer and Broker are addresses, host:port.
	NameServer, Broker string

	dir, home string
	ports     map[string]string
	names     *exec.Cmd
	broker    *exec.Cmd
}

// Start runs a name server and a broker in a temporary folder. They die with this process, also when that is killed. The broker asks
// back sooner than in operation: for a half message after 2 s, then every second.
func Start() (*Server, error) {
	source, err := source()
	if err != nil {
		return nil, err
	}
	if out, err := exec.Command(filepath.Join(source, "fetch.sh")).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("fetch RocketMQ: %w\n%s", err, out)
	}
	dir, err := os.MkdirTemp("", "fourfold-rocketmq-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, home: filepath.Join(source, "../../.cache/rocketmq-5.3.3")}
	if err := s.start(source); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

func (s *Server) start(source string) error {
	names, err := freePort()
	if err != nil {
		return err
	}
	port, err := freePair()
	if err != nil {
		return err
	}
	metrics, err := freePort()
	if err != nil {
		return err
	}
	s.NameServer = net.JoinHostPort("127.0.0.1", strconv.Itoa(names))
	s.Broker = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	s.ports = map[string]string{"NAMESRV_PORT": strconv.Itoa(names), "BROKER_PORT": strconv.Itoa(port),
		"BROKER_METRICS_PORT": strconv.Itoa(metrics), "ROCKETMQ_STORE": s.dir}
	for file, more := range map[string]string{
		"namesrv.conf": "",
		"broker.conf":  "transactionTimeOut=2000\ntransactionCheckInterval=1000\n",
		"java.options": "",
	} {
		text, err := os.ReadFile(filepath.Join(source, file))
		if err != nil {
			return err
		}
		filled := os.Expand(string(text), func(name string) string { return s.ports[name] })
		if err := os.WriteFile(filepath.Join(s.dir, file), []byte(filled+more), 0o600); err != nil {
			return err
		}
	}
	if s.names, err = s.run("64m", "org.apache.rocketmq.namesrv.NamesrvStartup", "namesrv.conf"); err != nil {
		return err
	}
	if err := await(s.NameServer, s.names); err != nil {
		return err
	}
	return s.Restart()
}

// Restart starts the broker again, with the data it had when it was killed, and waits until it answers.
func (s *Server) Restart() error {
	var err error
	if s.broker, err = s.run("256m", "org.apache.rocketmq.broker.BrokerStartup", "broker.conf"); err != nil {
		return err
	}
	return await(s.Broker, s.broker)
}

// Kill ends the broker as a crash does. Its data stays for Restart.
func (s *Server) Kill() {
	_ = s.broker.Process.Kill()
	_ = s.broker.Wait()
}

// Freeze stops the broker without closing its connections, until Thaw.
func (s *Server) Freeze() error { return s.broker.Process.Signal(syscall.SIGSTOP) }

// Thaw lets a frozen broker go on.
func (s *Server) Thaw() error { return s.broker.Process.Signal(syscall.SIGCONT) }

// PIDs are those of the name server and of the broker.
func (s *Server) PIDs() []int { return []int{s.names.Process.Pid, s.broker.Process.Pid} }

// Stop kills both and removes their data.
func (s *Server) Stop() {
	for _, cmd := range []*exec.Cmd{s.broker, s.names} {
		if cmd != nil && cmd.Process != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	_ = os.RemoveAll(s.dir)
}

// run starts one of the two, tied to this process.
func (s *Server) run(heap, main, conf string) (*exec.Cmd, error) {
	log, err := os.OpenFile(filepath.Join(s.dir, conf+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	classes := filepath.Join(s.home, "classes") + ":" + filepath.Join(s.home, "lib") + "/*"
	cmd := exec.Command("java", "@"+filepath.Join(s.dir, "java.options"), "-Xmx"+heap, "-Duser.home="+s.dir, "-cp", classes,
		main, "-c", filepath.Join(s.dir, conf))
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	cmd.Env = append(os.Environ(), "ROCKETMQ_HOME="+s.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	// The kernel sends that signal when the thread that started the process ends, so the thread is kept.
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		started <- cmd.Start()
		select {}
	}()
	return cmd, <-started
}

// await waits until cmd listens on addr.
func await(addr string, cmd *exec.Cmd) error {
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return conn.Close()
		}
		if cmd.Process.Signal(syscall.Signal(0)) != nil {
			break
		}
	}
	log, _ := os.ReadFile(cmd.Args[len(cmd.Args)-1] + ".log")
	return fmt.Errorf("%s does not answer on %s; its last words: %s", cmd.Args[len(cmd.Args)-3], addr, log[max(0, len(log)-2000):])
}

// source is the folder deploy/rocketmq of this tree.
func source() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		source := filepath.Join(dir, "deploy/rocketmq")
		if _, err := os.Stat(filepath.Join(source, "fetch.sh")); err == nil {
			return source, nil
		}
	}
	return "", errors.New("no deploy/rocketmq above the working folder")
}

// freePair finds a port whose second neighbour below, the broker's fast port, is free too.
func freePair() (int, error) {
	for range 100 {
		port, err := freePort()
		if err != nil {
			return 0, err
		}
		if l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port-2)); err == nil {
			return port, l.Close()
		}
	}
	return 0, errors.New("no two free ports")
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// Listening gives the addresses on which pid listens, as /proc has them: hexadecimal, 0100007F:… is 127.0.0.1.
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
