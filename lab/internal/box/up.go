package box

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"meshlift.dev/meshlift/lab/internal/layout"
)

// SuperviseCommand is the hidden command with which the lab binary runs itself as a supervisor.
const SuperviseCommand = "supervise"

// Descriptors that the supervisor inherits. The listeners are sockets of the host's network namespace, which keep
// belonging to it: this is how the host reaches into the lab.
const (
	reportFD   = 3 // reports to `lab up`
	chartsFD   = 4 // listener for the chart repository
	clustersFD = 5 // one listener for the API server of each cluster
)

// report is what the supervisor tells `lab up`, one JSON object per line.
type report struct {
	Step  string `json:"step,omitempty"`
	Ready bool   `json:"ready,omitempty"`
	Error string `json:"error,omitempty"`
}

// Up starts a lab and returns when it is ready. Progress goes to out. If it fails or ctx ends, nothing is left running,
// and the logs stay in the state directory until the next start.
func Up(ctx context.Context, dir layout.Dir, o Options, out io.Writer) (*State, error) {
	if err := o.complete(dir); err != nil {
		return nil, err
	}
	run := dir.Run(o.Name)
	if err := claim(run, o.Name); err != nil {
		return nil, err
	}
	if err := writeJSON(filepath.Join(run, optionsFile), o); err != nil {
		return nil, err
	}
	started := time.Now()
	cmd, reports, err := supervise(dir, run, len(o.Clusters))
	if err != nil {
		return nil, err
	}
	defer func() { _ = reports.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	if err := follow(reports, started, out); err != nil {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("lab %s did not come up: %w\nlogs are in %s", o.Name, err, run)
	}
	return Load(dir, o.Name)
}

// claim makes the state directory ready for a new lab of that name.
func claim(run, name string) error {
	if s, err := read(run); err == nil && s != nil && s.alive() {
		return fmt.Errorf("the lab %s is running already (process %d): stop it with `lab down --name %s`", name, s.PID, name)
	}
	if err := os.RemoveAll(run); err != nil {
		return fmt.Errorf("clean up the last run: %w", err)
	}
	if err := os.MkdirAll(run, 0o755); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	return nil
}

// supervise starts the supervisor in new namespaces, detached from the terminal.
func supervise(dir layout.Dir, run string, clusters int) (*exec.Cmd, io.ReadCloser, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("find the lab binary: %w", err)
	}
	log, err := os.Create(filepath.Join(run, logFile))
	if err != nil {
		return nil, nil, fmt.Errorf("log of the supervisor: %w", err)
	}
	defer func() { _ = log.Close() }()
	reports, reporter, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("pipe: %w", err)
	}
	defer func() { _ = reporter.Close() }()
	listeners, err := listen(clusters + 1)
	defer closeAll(listeners)
	if err != nil {
		return nil, nil, errors.Join(err, reports.Close())
	}
	cmd := exec.Command(self, SuperviseCommand, run)
	cmd.Env = append(withoutProxies(os.Environ()), layout.Env+"="+string(dir))
	cmd.Dir = run
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = append([]*os.File{reporter}, listeners...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("start the lab in namespaces of its own: %w%s", err, namespaceHint(err)), reports.Close())
	}
	return cmd, reports, nil
}

// namespaceHint says what to do when the kernel does not let us make namespaces.
func namespaceHint(err error) string {
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		return " (this system does not allow unprivileged user namespaces: see sysctl kernel.unprivileged_userns_clone, " +
			"kernel.apparmor_restrict_unprivileged_userns and user.max_user_namespaces, or run the lab as root)"
	}
	return ""
}

// listen opens n listeners on the host's loopback and returns them as files.
func listen(n int) ([]*os.File, error) {
	var files []*os.File
	for range n {
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return files, fmt.Errorf("listen on loopback: %w", err)
		}
		f, err := l.File()
		_ = l.Close()
		if err != nil {
			return files, fmt.Errorf("listen on loopback: %w", err)
		}
		files = append(files, f)
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// follow prints the supervisor's reports until it is ready.
func follow(reports io.Reader, started time.Time, out io.Writer) error {
	decoder := json.NewDecoder(reports)
	for {
		var r report
		err := decoder.Decode(&r)
		switch {
		case errors.Is(err, io.EOF):
			return errors.New("the supervisor ended without saying why, see " + logFile)
		case err != nil:
			return fmt.Errorf("supervisor: %w", err)
		case r.Error != "":
			return errors.New(r.Error)
		case r.Ready:
			return nil
		}
		if _, err := fmt.Fprintf(out, "%6.1f s  %s\n", time.Since(started).Seconds(), r.Step); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
}

// withoutProxies removes HTTP proxies from an environment: nothing in the lab is behind one.
func withoutProxies(env []string) []string {
	var kept []string
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		switch strings.ToLower(name) {
		case "http_proxy", "https_proxy", "all_proxy", "no_proxy", "ftp_proxy":
		default:
			kept = append(kept, e)
		}
	}
	return kept
}
