package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"meshlift.dev/meshlift/lab/internal/osthread"
)

// outputDelay is how long Exec waits for output after the command has ended, in case that it left
// a process behind that holds it open.
const outputDelay = 500 * time.Millisecond

// ErrNotRunning says that a container has ended.
var ErrNotRunning = errors.New("container is not running")

// Size is the size of a terminal.
type Size struct{ Width, Height uint16 }

// ExecOptions is a command to run in a container.
type ExecOptions struct {
	Args           []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// TTY runs the command in a terminal, whose output goes to Stdout.
	TTY bool
	// Resize brings new sizes of the terminal.
	Resize <-chan Size
}

// Exec runs a command in the container and returns its exit code. The command is killed when ctx
// ends.
func (p *Process) Exec(ctx context.Context, o ExecOptions) (int, error) {
	cmd := &exec.Cmd{Args: o.Args, Env: p.env, Dir: p.dir, WaitDelay: outputDelay}
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	var wait func() error
	var err error
	if o.TTY {
		wait, err = p.execTerminal(cmd, o)
	} else {
		wait, err = p.execPlain(cmd, o)
	}
	if err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	err = wait()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case errors.As(err, &exit):
		if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() {
			return 128 + int(s.Signal()), nil
		}
		return exit.ExitCode(), nil
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return 0, fmt.Errorf("exec: %w", err)
	}
	return 0, nil
}

func (p *Process) execPlain(cmd *exec.Cmd, o ExecOptions) (func() error, error) {
	cmd.Stdout, cmd.Stderr = o.Stdout, o.Stderr
	if o.Stdin == nil {
		return cmd.Wait, p.startInside(cmd)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("exec: %w", err)
	}
	if err := p.startInside(cmd); err != nil {
		in.Close()
		return nil, err
	}
	go func() {
		_, _ = io.Copy(in, o.Stdin) // ends with the command or the client
		in.Close()
	}()
	return cmd.Wait, nil
}

func (p *Process) execTerminal(cmd *exec.Cmd, o ExecOptions) (func() error, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("exec: open a terminal: %w", err)
	}
	defer slave.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := p.startInside(cmd); err != nil {
		master.Close()
		return nil, err
	}
	go func() {
		for size := range o.Resize {
			_ = pty.Setsize(master, &pty.Winsize{Rows: size.Height, Cols: size.Width})
		}
	}()
	if o.Stdin != nil {
		go func() { _, _ = io.Copy(master, o.Stdin) }()
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		if o.Stdout != nil {
			_, _ = io.Copy(o.Stdout, master) // ends with EIO when the last process has closed it
		}
	}()
	return func() error {
		defer master.Close()
		err := cmd.Wait()
		select {
		case <-drained:
		case <-time.After(outputDelay):
		}
		return err
	}, nil
}

// insider is the thread that enters containers to start commands in them.
type insider struct {
	thread *osthread.Thread
	home   []namespace
}

// namespace is an open namespace to join.
type namespace struct {
	file *os.File
	kind int
}

// namespaceKinds are joined in this order; the mount namespace comes last because it changes what
// paths mean.
var namespaceKinds = []struct {
	name string
	kind int
}{
	{"pid", unix.CLONE_NEWPID}, {"net", unix.CLONE_NEWNET}, {"uts", unix.CLONE_NEWUTS}, {"mnt", unix.CLONE_NEWNS},
}

var theInsider = sync.OnceValues(func() (*insider, error) {
	home, err := openNamespaces(os.Getpid())
	if err != nil {
		return nil, err
	}
	i := &insider{thread: osthread.New(), home: home}
	// Without a file system context of its own a thread cannot change its mount namespace.
	if err := i.thread.Do(func() error { return unix.Unshare(unix.CLONE_FS) }); err != nil {
		return nil, fmt.Errorf("unshare file system context: %w", err)
	}
	return i, nil
})

// startInside starts a command in the container's namespaces.
func (p *Process) startInside(cmd *exec.Cmd) error {
	i, err := theInsider()
	if err != nil {
		return fmt.Errorf("exec: %w", err)
	}
	target, err := openNamespaces(p.PID)
	defer closeNamespaces(target)
	select {
	case <-p.done:
		return ErrNotRunning
	default:
	}
	if err != nil {
		return fmt.Errorf("exec: %w", err)
	}
	return i.thread.Do(func() error {
		defer func() { _ = join(i.home) }() // else the container's mounts would outlive it
		if err := join(target); err != nil {
			return fmt.Errorf("exec: %w", err)
		}
		path, err := lookPath(cmd.Args, cmd.Env)
		if err != nil {
			return &StartError{Reason: err.Error()}
		}
		cmd.Path = path
		if err := cmd.Start(); err != nil {
			return &StartError{Reason: err.Error()}
		}
		return nil
	})
}

func openNamespaces(pid int) ([]namespace, error) {
	var all []namespace
	for _, k := range namespaceKinds {
		file, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, k.name))
		if err != nil {
			closeNamespaces(all)
			return nil, fmt.Errorf("open namespace: %w", err)
		}
		all = append(all, namespace{file: file, kind: k.kind})
	}
	return all, nil
}

func closeNamespaces(all []namespace) {
	for _, ns := range all {
		ns.file.Close()
	}
}

func join(all []namespace) error {
	for _, ns := range all {
		if err := unix.Setns(int(ns.file.Fd()), ns.kind); err != nil {
			return fmt.Errorf("join namespace %s: %w", ns.file.Name(), err)
		}
	}
	return nil
}
