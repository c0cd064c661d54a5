package container

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Main is the shim: it turns this process into the container's first process when os.Args[1] is
// InitCommand. The lab binary (and test binaries that start containers) call it first thing in
// main; it returns false when the process was started for something else, else never.
func Main() (handled bool) {
	if len(os.Args) < 2 || os.Args[1] != InitCommand {
		return false
	}
	runtime.LockOSThread()
	for _, fd := range []int{specFD, errorFD, netnsFD} {
		unix.CloseOnExec(fd)
	}
	err := becomeContainer()
	fmt.Fprint(os.NewFile(errorFD, "error"), err)
	os.Exit(failedToStart)
	return true
}

// becomeContainer only returns if something went wrong.
func becomeContainer() error {
	var spec Spec
	if err := json.NewDecoder(os.NewFile(specFD, "spec")).Decode(&spec); err != nil {
		return fmt.Errorf("read container spec: %w", err)
	}
	if err := unix.Setns(netnsFD, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("join the pod's network: %w", err)
	}
	if err := unix.Sethostname([]byte(spec.Hostname)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	if err := enterRoot(spec); err != nil {
		return fmt.Errorf("root file system: %w", err)
	}
	dir := spec.Dir
	if dir == "" {
		dir = "/"
	}
	if err := os.Chdir(dir); err != nil {
		return fmt.Errorf("working directory: %w", err)
	}
	path, err := lookPath(spec.Args, spec.Env)
	if err != nil {
		return err
	}
	// The death signal belongs to the thread, and this needn't be the one that was forked.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("set death signal: %w", err)
	}
	if err := syscall.Exec(path, spec.Args, spec.Env); err != nil {
		return fmt.Errorf("exec %s: %w", path, err)
	}
	return nil
}

// lookPath finds the executable of a command in PATH of its environment.
func lookPath(args, env []string) (string, error) {
	if len(args) == 0 || args[0] == "" {
		return "", fmt.Errorf("no command specified")
	}
	name := args[0]
	if strings.Contains(name, "/") {
		return name, executable(name)
	}
	path := defaultPath
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			path = v
		}
	}
	for _, dir := range filepath.SplitList(path) {
		if file := filepath.Join(dir, name); executable(file) == nil {
			return file, nil
		}
	}
	return "", fmt.Errorf("exec: %q: executable file not found in $PATH: %w", name, fs.ErrNotExist)
}

func executable(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("exec: %w", err)
	}
	if info.IsDir() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("exec: %q: %w", file, fs.ErrPermission)
	}
	return nil
}
