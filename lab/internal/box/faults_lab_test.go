package box_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"meshlift.dev/meshlift/lab/internal/box"
	"meshlift.dev/meshlift/lab/internal/layout"
)

// faultsEndAndLeaveNothing proves that a fault is there while its command runs, and gone afterwards.
func faultsEndAndLeaveNothing(t *testing.T, l lab) {
	t.Helper()
	s, err := box.Load(l.dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	before := component(t, s.PID, "kube-apiserver")
	l.ok("fault", "restart", "kube-apiserver", "--name", "test")
	if after := component(t, s.PID, "kube-apiserver"); after == before || alive(before) {
		t.Errorf("the API server was process %s and is %s", before, after)
	}
	if out := l.ok("exec", "--name", "test", "--", "kubectl", "get", "--raw", "/readyz"); out != "ok" {
		t.Errorf("the API server after its restart: %q", out)
	}
	l.ok("fault", "slow", "etcd", "--for", "300ms", "--name", "test")
	interruptedFreeze(t, l, s.PID)
	for _, args := range [][]string{{"restart", "kubelet"}, {"freeze", "nobody"}, {"cut", "default/nobody"}, {"kill", "default/nobody"}} {
		if _, code := l.run("", append(append([]string{"fault"}, args...), "--name", "test")...); code == 0 {
			t.Errorf("fault %v is no fault", args)
		}
	}
}

// interruptedFreeze freezes the scheduler without an end and kills the command.
func interruptedFreeze(t *testing.T, l lab, supervisor int) {
	t.Helper()
	scheduler := component(t, supervisor, "kube-scheduler")
	cmd := exec.Command(l.binary, "fault", "freeze", "kube-scheduler", "--for", "0", "--name", "test")
	cmd.Env = append(os.Environ(), layout.Env+"="+string(l.dir))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	becomes := func(stopped bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); isStopped(scheduler) != stopped; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the scheduler is stopped: %t, want %t", !stopped, stopped)
			}
		}
	}
	becomes(true)
	if err := cmd.Process.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	becomes(false)
}

// component returns the process of a part of the control plane.
func component(t *testing.T, supervisor int, name string) string {
	t.Helper()
	for _, pid := range childrenOf(t, supervisor) {
		b, err := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
		if args := strings.Split(string(b), "\x00"); err == nil && len(args) > 1 && args[1] == name {
			return pid
		}
	}
	t.Fatalf("%s does not run", name)
	return ""
}

func isStopped(pid string) bool {
	b, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	_, rest, _ := strings.Cut(string(b), ") ")
	return err == nil && strings.HasPrefix(rest, "T")
}
