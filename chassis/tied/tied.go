// Package tied starts processes that do not outlive this one: the servers and programs of tests.
package tied

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// Start starts cmd so that the kernel kills it when this process dies, however that dies. It returns the errors of cmd.Start.
func Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started := make(chan error)
	starts() <- start{cmd, started}
	return <-started
}

type start struct {
	cmd     *exec.Cmd
	started chan<- error
}

// starts leads to the one thread that starts all: the kernel sends the signal when the *thread* that started a process ends, and Go ends
// threads.
var starts = sync.OnceValue(func() chan<- start {
	all := make(chan start)
	go func() {
		runtime.LockOSThread()
		for s := range all {
			s.started <- s.cmd.Start()
		}
	}()
	return all
})
