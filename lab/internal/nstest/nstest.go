// Package nstest runs a package's tests in fresh Linux namespaces.
//
// A TestMain that calls Main is executed again in its own network and mount namespace, and in a
// user namespace when it isn't root or when LAB_TEST_USERNS=1 asks for it, so that the tests may
// make bridges, mounts and pods without touching the machine.
package nstest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const marker = "LAB_TEST_NAMESPACES"

// Main runs the tests of m in new namespaces and returns the exit code for os.Exit. On a machine
// that doesn't allow namespaces it runs them where they are, with Available false.
func Main(m *testing.M) int {
	if os.Getenv(marker) == "in" {
		if err := prepare(); err != nil {
			fmt.Fprintln(os.Stderr, "nstest:", err)
			return 1
		}
		return m.Run()
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), marker+"=in")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = attributes()
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1)
	}
	fmt.Fprintln(os.Stderr, "nstest: no namespaces here, tests that need them are skipped:", err)
	return m.Run()
}

// Available says whether the tests run in their own namespaces.
func Available() bool { return os.Getenv(marker) == "in" }

func attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	if os.Getuid() != 0 || os.Getenv("LAB_TEST_USERNS") == "1" {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return attr
}

func prepare() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	return nil
}
