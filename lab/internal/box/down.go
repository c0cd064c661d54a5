package box

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"meshlift.dev/meshlift/lab/internal/layout"
)

// downTimeout is how long the supervisor may take to end by itself.
const downTimeout = 20 * time.Second

// Down stops a lab, waits for the end of its processes and removes its state. Stopping a lab that does not run only
// removes what it left.
func Down(ctx context.Context, dir layout.Dir, name string) error {
	run := dir.Run(name)
	if _, err := os.Stat(run); err != nil {
		return fmt.Errorf("%w: %s", ErrNotRunning, name)
	}
	s, err := read(run)
	if err != nil {
		return err
	}
	if s != nil && s.alive() {
		if err := end(ctx, s.PID); err != nil {
			return fmt.Errorf("stop the lab %s: %w", name, err)
		}
	}
	if err := os.RemoveAll(run); err != nil {
		return fmt.Errorf("remove the state of %s: %w", name, err)
	}
	return nil
}

// end ends the supervisor and waits until it is gone. Killed, it takes its processes along.
func end(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	defer func() { _ = unix.Close(fd) }()
	for _, attempt := range []struct {
		signal  unix.Signal
		timeout time.Duration
	}{{unix.SIGTERM, downTimeout}, {unix.SIGKILL, downTimeout}} {
		if err := unix.PidfdSendSignal(fd, attempt.signal, nil, 0); errors.Is(err, unix.ESRCH) {
			return nil
		}
		gone, err := awaitEnd(ctx, fd, attempt.timeout)
		if gone || err != nil {
			return err
		}
	}
	return fmt.Errorf("process %d does not end", pid)
}

// awaitEnd waits until the process of a pidfd has ended.
func awaitEnd(ctx context.Context, fd int, timeout time.Duration) (bool, error) {
	deadline := time.Now().Add(timeout)
	for time.Now().Before(deadline) {
		if err := ctx.Err(); err != nil {
			return false, context.Cause(ctx)
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 200)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false, fmt.Errorf("wait: %w", err)
		}
		if n > 0 {
			return true, nil
		}
	}
	return false, nil
}
