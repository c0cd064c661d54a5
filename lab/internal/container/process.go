package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"meshlift.dev/meshlift/lab/internal/proc"
)

// Process is a running container.
type Process struct {
	// PID is the container's first process as seen from the lab.
	PID int
	// Started is when the command was executed.
	Started time.Time

	cmd  *exec.Cmd
	env  []string
	dir  string
	done chan struct{}
	exit Exit
}

// Exit says how a container ended.
type Exit struct {
	// Code is the exit code, 128 plus the signal when a signal ended it.
	Code int
	// Signal is the signal that ended it, or 0.
	Signal int
	// Finished is when it ended.
	Finished time.Time
}

// StartError says why a container's command could not be executed.
type StartError struct{ Reason string }

// Error implements error.
func (e *StartError) Error() string { return e.Reason }

// Start runs a container in the pod's network namespace and returns once its command runs. An
// error of the container itself is a *StartError. The caller closes stdout and stderr.
func Start(executable string, spec Spec, netns, stdout, stderr *os.File) (*Process, error) {
	text, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("container spec: %w", err)
	}
	specRead, specWrite, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("container pipe: %w", err)
	}
	defer specRead.Close()
	defer specWrite.Close()
	errRead, errWrite, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("container pipe: %w", err)
	}
	defer errRead.Close()

	cmd := exec.Command(executable, InitCommand)
	cmd.Env = []string{"PATH=" + defaultPath}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.ExtraFiles = []*os.File{specRead, errWrite, netns}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS,
		Setsid:     true,
	}
	err = proc.Start(cmd)
	errWrite.Close()
	if err != nil {
		return nil, fmt.Errorf("start container shim: %w", err)
	}
	p := &Process{PID: cmd.Process.Pid, cmd: cmd, env: spec.Env, dir: spec.Dir, done: make(chan struct{})}
	go p.wait()
	if _, err := specWrite.Write(text); err != nil {
		p.Kill()
		return nil, fmt.Errorf("send container spec: %w", err)
	}
	specWrite.Close()
	reason, err := io.ReadAll(errRead)
	if err != nil || len(reason) > 0 {
		p.Kill()
		<-p.done
		return nil, &StartError{Reason: string(reason)}
	}
	p.Started = time.Now()
	return p, nil
}

func (p *Process) wait() {
	err := p.cmd.Wait()
	exit := Exit{Finished: time.Now()}
	var failed *exec.ExitError
	switch status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); {
	case ok && status.Signaled():
		exit.Signal = int(status.Signal())
		exit.Code = 128 + exit.Signal
	case ok:
		exit.Code = status.ExitStatus()
	case errors.As(err, &failed):
		exit.Code = failed.ExitCode()
	}
	p.exit = exit
	close(p.done)
}

// Done is closed when the container has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit says how the container ended; call it after Done.
func (p *Process) Exit() Exit { return p.exit }

// Terminate sends SIGTERM to the container's first process.
func (p *Process) Terminate() {
	// The only error is that it has ended already.
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
}

// Kill ends the container with everything in it.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
}
