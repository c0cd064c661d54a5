// Package proc starts child processes that never outlive this process.
//
// Linux sends a child's parent-death signal when the thread that forked it ends, not when the process does, and the
// Go runtime ends the thread of every goroutine that exits while locked to it (as code does that enters namespaces).
// All children are therefore forked from one thread that lives as long as the process.
package proc

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

type request struct {
	cmd   *exec.Cmd
	reply chan error
}

var spawner = sync.OnceValue(func() chan<- request {
	requests := make(chan request)
	go func() {
		runtime.LockOSThread()
		for r := range requests {
			r.reply <- r.cmd.Start()
		}
	}()
	return requests
})

// Start starts cmd like cmd.Start, with the parent-death signal SIGKILL in addition: whatever becomes of this
// process, the child ends with it.
func Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	r := request{cmd: cmd, reply: make(chan error, 1)}
	spawner() <- r
	return <-r.reply
}
