package box

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"meshlift.dev/meshlift/lab/internal/proc"
)

// A process that has several threads, as every Go program, cannot enter a user namespace. `lab exec` therefore asks
// the supervisor, over a Unix socket, to start the command, and passes its own descriptors for the command to use.

// maxMessage bounds one message on the socket; a message is one packet.
const maxMessage = 1 << 20

// killDelay is how long a command whose client is gone may take to end.
const killDelay = 2 * time.Second

// execRequest asks for a command. Its descriptors 0, 1 and 2 come with the message.
type execRequest struct {
	Args []string `json:"args"`
	Env  []string `json:"env"`
	Dir  string   `json:"dir"`
	TTY  bool     `json:"tty"` // descriptor 0 is to be the controlling terminal
}

// execSignal asks to send a signal to the command.
type execSignal struct {
	Signal int `json:"signal"`
}

// execReply is the result of a command.
type execReply struct {
	Code  int    `json:"code"`
	Error string `json:"error,omitempty"` // it could not be started
}

// serveExec accepts commands until ctx ends.
func (s *supervisor) serveExec(ctx context.Context) error {
	path, done, err := shortPath(s.run, socketFile)
	if err != nil {
		return err
	}
	defer done()
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return fmt.Errorf("listen for commands: %w", err)
	}
	l.SetUnlinkOnClose(false) // the directory is removed as a whole, and the path was a short-lived one
	if err := os.Chmod(filepath.Join(s.run, socketFile), 0o600); err != nil {
		return fmt.Errorf("listen for commands: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	s.keep(ctx, "server of commands", func(ctx context.Context) error {
		for {
			conn, err := l.AcceptUnix()
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("accept: %w", err)
			}
			s.background.Go(func() { s.serveCommand(ctx, conn) })
		}
	})
	return nil
}

// shortPath returns a path to a file of a directory that is short enough for the address of a Unix socket.
func shortPath(dir, file string) (path string, done func(), err error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, fmt.Errorf("open %s: %w", dir, err)
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", fd, file), func() { _ = unix.Close(fd) }, nil
}

// serveCommand runs one command for one client.
func (s *supervisor) serveCommand(ctx context.Context, conn *net.UnixConn) {
	defer func() { _ = conn.Close() }()
	reply := execReply{}
	cmd, err := receiveCommand(conn)
	if err == nil {
		err = proc.Start(cmd)
		for _, f := range []any{cmd.Stdin, cmd.Stdout, cmd.Stderr} {
			_ = f.(*os.File).Close()
		}
	}
	if err != nil {
		reply = execReply{Code: 127, Error: err.Error()}
	} else {
		reply.Code = await(ctx, cmd, conn)
	}
	if b, err := json.Marshal(reply); err == nil {
		_, _ = conn.Write(b)
	}
}

// await waits for a command, delivers signals of the client to it, and ends it when the client is gone.
func await(ctx context.Context, cmd *exec.Cmd, conn *net.UnixConn) int {
	group := -cmd.Process.Pid // the command leads a session of its own
	ended := make(chan struct{})
	end := func() {
		_ = unix.Kill(group, unix.SIGTERM)
		select {
		case <-ended:
		case <-time.After(killDelay):
			_ = unix.Kill(group, unix.SIGKILL)
		}
	}
	stop := context.AfterFunc(ctx, end)
	defer stop()
	go func() {
		buffer := make([]byte, 4096)
		for {
			n, err := conn.Read(buffer)
			if err != nil || n == 0 {
				select {
				case <-ended:
				default:
					end()
				}
				return
			}
			var m execSignal
			if json.Unmarshal(buffer[:n], &m) == nil {
				_ = unix.Kill(group, unix.Signal(m.Signal))
			}
		}
	}()
	err := cmd.Wait()
	close(ended)
	return exitCode(err)
}

func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &exit):
		return 1
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}

// receiveCommand reads a request and its descriptors.
func receiveCommand(conn *net.UnixConn) (*exec.Cmd, error) {
	buffer, control := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(3*4))
	n, controlled, _, _, err := conn.ReadMsgUnix(buffer, control)
	if err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	files, err := descriptors(control[:controlled])
	if err != nil {
		return nil, err
	}
	var r execRequest
	if err := json.Unmarshal(buffer[:n], &r); err != nil {
		closeAll(files)
		return nil, fmt.Errorf("read the request: %w", err)
	}
	if len(r.Args) == 0 || len(files) != 3 {
		closeAll(files)
		return nil, errors.New("want a command and three descriptors")
	}
	path, err := lookup(r.Args[0], r.Env, r.Dir)
	if err != nil {
		closeAll(files)
		return nil, err
	}
	return &exec.Cmd{
		Path: path, Args: r.Args, Env: r.Env, Dir: r.Dir, Stdin: files[0], Stdout: files[1], Stderr: files[2],
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Setctty: r.TTY, Ctty: 0},
	}, nil
}

func descriptors(control []byte) ([]*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, fmt.Errorf("descriptors: %w", err)
	}
	var files []*os.File
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return nil, fmt.Errorf("descriptors: %w", err)
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return files, nil
}

// lookup finds a command in the PATH of env, like a shell in dir would.
func lookup(name string, env []string, dir string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return name, executable(name)
	}
	for _, e := range env {
		list, ok := strings.CutPrefix(e, "PATH=")
		if !ok {
			continue
		}
		for _, d := range filepath.SplitList(list) {
			if path := filepath.Join(d, name); executable(path) == nil {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("%s: command not found", name)
}
