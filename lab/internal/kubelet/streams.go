package kubelet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/streaming/pkg/httpstream/wsstream"
	utilexec "k8s.io/utils/exec"

	"meshlift.dev/meshlift/lab/internal/container"
)

// streamIdleTimeout is how long an exec or port-forward session may be silent.
const streamIdleTimeout = 4 * time.Hour

func (s *apiServer) exec(w http.ResponseWriter, r *http.Request) {
	_, c, ok := s.find(w, r)
	if !ok {
		return
	}
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(w, r, executor{c}, r.PathValue("pod"), r.PathValue("uid"), c.name, r.Form["command"], options,
		streamIdleTimeout, remotecommand.DefaultStreamCreationTimeout, remotecommand.SupportedStreamingProtocols)
}

// executor runs commands in one container for the streaming library.
type executor struct{ c *ctr }

// ExecInContainer implements remotecommand.Executor.
func (e executor) ExecInContainer(ctx context.Context, _, _, _ string, command []string, in io.Reader, out, errs io.WriteCloser,
	tty bool, resize <-chan remotecommand.TerminalSize, _ time.Duration,
) error {
	e.c.p.mu.Lock()
	process := e.c.process
	e.c.p.mu.Unlock()
	if process == nil {
		return fmt.Errorf("container %s: %w", e.c.name, container.ErrNotRunning)
	}
	options := container.ExecOptions{Args: command, TTY: tty}
	// A nil interface in another interface isn't nil.
	if in != nil {
		options.Stdin = in
	}
	if out != nil {
		options.Stdout = out
	}
	if errs != nil {
		options.Stderr = errs
	}
	if resize != nil {
		options.Resize = sizes(ctx, resize)
	}
	code, err := process.Exec(ctx, options)
	if err != nil {
		return err
	}
	if code != 0 {
		return utilexec.CodeExitError{Err: fmt.Errorf("command terminated with exit code %d", code), Code: code}
	}
	return nil
}

// sizes translates the terminal sizes of the streaming library.
func sizes(ctx context.Context, in <-chan remotecommand.TerminalSize) <-chan container.Size {
	out := make(chan container.Size)
	go func() {
		defer close(out)
		for size := range in {
			select {
			case out <- container.Size{Width: size.Width, Height: size.Height}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

func (s *apiServer) portForward(w http.ResponseWriter, r *http.Request) {
	p, _, ok := s.find(w, r)
	if !ok {
		return
	}
	options := &portforward.V4Options{}
	if wsstream.IsWebSocketRequest(r) {
		var err error
		if options, err = portforward.NewV4Options(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	portforward.ServePortForward(w, r, forwarder{p}, r.PathValue("pod"), r.PathValue("uid"), options,
		streamIdleTimeout, remotecommand.DefaultStreamCreationTimeout, portforward.SupportedProtocols)
}

// forwarder connects streams to ports of one pod for the streaming library.
type forwarder struct{ p *pod }

// PortForward implements portforward.PortForwarder.
func (f forwarder) PortForward(ctx context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	if port < 1 || port > 65535 {
		return fmt.Errorf("port %d is not between 1 and 65535", port)
	}
	conn, err := f.dial(ctx, uint16(port))
	if err != nil {
		return err
	}
	defer conn.Close()
	inward := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, stream)
		if tcp, ok := conn.(*net.TCPConn); ok {
			err = errors.Join(err, tcp.CloseWrite())
		}
		inward <- err
	}()
	if _, err := io.Copy(stream, conn); err != nil && ctx.Err() == nil {
		return fmt.Errorf("forward port %d: %w", port, err)
	}
	return nil
}

func (f forwarder) dial(ctx context.Context, port uint16) (net.Conn, error) {
	f.p.mu.Lock()
	network, ended := f.p.net, f.p.ended
	f.p.mu.Unlock()
	switch {
	case ended:
		return nil, fmt.Errorf("pod %s: %w", f.p.latest().Name, container.ErrNotRunning)
	case network != nil:
		return network.DialLoopback(ctx, port)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
}
