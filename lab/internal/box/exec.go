package box

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Exec runs a command inside a lab, with this process's standard descriptors, working directory and environment, and
// with KUBECONFIG set to the given cluster ("" for the first). It returns the exit code of the command.
func (s *State) Exec(cluster string, args []string) (int, error) {
	c, err := s.Cluster(cluster)
	if err != nil {
		return 0, err
	}
	wd, err := os.Getwd()
	if err != nil {
		return 0, fmt.Errorf("working directory: %w", err)
	}
	conn, err := s.dialExec()
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	request := execRequest{Args: args, Env: s.environment(c), Dir: wd, TTY: term.IsTerminal(0) && term.IsTerminal(1)}
	if request.TTY {
		return execTerminal(conn, request)
	}
	return execPlain(conn, request)
}

func (s *State) dialExec() (*net.UnixConn, error) {
	path, done, err := shortPath(s.Dir, socketFile)
	if err != nil {
		return nil, err
	}
	defer done()
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("reach the lab %s: %w", s.Name, err)
	}
	return conn, nil
}

// environment returns the environment of a command: kubectl and istioctl are on its PATH.
func (s *State) environment(c Cluster) []string {
	env := []string{"KUBECONFIG=" + c.Inside, "MESHLIFT_LAB=" + s.Name, "MESHLIFT_LAB_CHARTS=" + s.ChartsIn}
	bin := filepath.Join(s.Dir, "bin")
	for _, e := range withoutProxies(os.Environ()) {
		switch name, value, _ := strings.Cut(e, "="); name {
		case "KUBECONFIG":
		case "PATH":
			env = append(env, "PATH="+bin+string(filepath.ListSeparator)+value)
		default:
			env = append(env, e)
		}
	}
	return env
}

// execPlain runs a command with the descriptors of this process.
func execPlain(conn *net.UnixConn, request execRequest) (int, error) {
	if err := send(conn, request, os.Stdin, os.Stdout, os.Stderr); err != nil {
		return 0, err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	go func() {
		for s := range signals {
			if n, ok := s.(syscall.Signal); ok {
				if b, err := json.Marshal(execSignal{Signal: int(n)}); err == nil {
					_, _ = conn.Write(b)
				}
			}
		}
	}()
	return receive(conn)
}

// execTerminal runs a command in a new terminal that this process connects with its own: a terminal controls one
// session only, so that ours cannot be the command's.
func execTerminal(conn *net.UnixConn, request execRequest) (int, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return 0, fmt.Errorf("open a terminal: %w", err)
	}
	defer func() { _ = master.Close() }()
	_ = pty.InheritSize(os.Stdin, master)
	err = send(conn, request, slave, slave, slave)
	_ = slave.Close()
	if err != nil {
		return 0, err
	}
	old, err := term.MakeRaw(0)
	if err != nil {
		return 0, fmt.Errorf("terminal: %w", err)
	}
	defer func() { _ = term.Restore(0, old) }()
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	go func() {
		for range resized {
			_ = pty.InheritSize(os.Stdin, master)
		}
	}()
	go func() { _, _ = io.Copy(master, os.Stdin) }()
	output := make(chan struct{})
	go func() { defer close(output); _, _ = io.Copy(os.Stdout, master) }()
	code, err := receive(conn)
	<-output // ends when the command's side of the terminal is closed
	return code, err
}

// send sends a request with the command's descriptors.
func send(conn *net.UnixConn, request execRequest, files ...*os.File) error {
	b, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode the command: %w", err)
	}
	if len(b) > maxMessage {
		return errors.New("the command and its environment are too long")
	}
	if err := conn.SetWriteBuffer(2 * maxMessage); err != nil {
		return fmt.Errorf("send the command: %w", err)
	}
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	if _, _, err := conn.WriteMsgUnix(b, unix.UnixRights(fds...), nil); err != nil {
		return fmt.Errorf("send the command: %w", err)
	}
	return nil
}

// receive waits for the result of the command.
func receive(conn *net.UnixConn) (int, error) {
	buffer := make([]byte, 64<<10)
	n, err := conn.Read(buffer)
	if err != nil || n == 0 {
		return 0, errors.New("the lab ended while the command was running")
	}
	var reply execReply
	if err := json.Unmarshal(buffer[:n], &reply); err != nil {
		return 0, fmt.Errorf("result of the command: %w", err)
	}
	if reply.Error != "" {
		return reply.Code, errors.New(reply.Error)
	}
	return reply.Code, nil
}
