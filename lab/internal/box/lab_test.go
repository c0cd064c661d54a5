package box_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"meshlift.dev/meshlift/lab/internal/box"
	"meshlift.dev/meshlift/lab/internal/layout"
)

// The test runs the lab binary as users do; it is built once.
func labBinary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lab")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", path, "meshlift.dev/meshlift/lab/cmd/lab")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the lab: %v\n%s", err, out)
	}
	return path
}

// labDir makes a .lab directory of its own that shares what was built with the repository's.
func labDir(t *testing.T) layout.Dir {
	t.Helper()
	built, err := layout.Find()
	if err != nil {
		t.Fatal(err)
	}
	if err := layout.Built(built.Bin("kube")); err != nil {
		t.Fatalf("this test runs a real control plane: %v", err)
	}
	own := t.TempDir()
	for _, d := range []string{"bin", "istio"} {
		if err := os.Symlink(filepath.Join(string(built), d), filepath.Join(own, d)); err != nil {
			t.Fatal(err)
		}
	}
	return layout.Dir(own)
}

type lab struct {
	t      *testing.T
	binary string
	dir    layout.Dir
}

// run runs a lab command and returns its output and exit code.
func (l lab) run(stdin string, args ...string) (stdout string, code int) {
	l.t.Helper()
	cmd := exec.Command(l.binary, args...)
	cmd.Env = append(os.Environ(), layout.Env+"="+string(l.dir))
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		l.t.Fatalf("lab %v: %v", args, err)
	}
	l.t.Logf("lab %s: %d\n%s%s", strings.Join(args, " "), cmd.ProcessState.ExitCode(), out.String(), errs.String())
	return out.String(), cmd.ProcessState.ExitCode()
}

// ok runs a lab command that must succeed.
func (l lab) ok(args ...string) string {
	l.t.Helper()
	out, code := l.run("", args...)
	if code != 0 {
		l.t.Fatalf("lab %v failed", args)
	}
	return out
}

func TestUpExecDown(t *testing.T) {
	l := lab{t, labBinary(t), labDir(t)}
	defer l.run("", "down", "--name", "test")
	l.ok("up", "--name", "test", "--install=", "--nodes", "2")

	s, err := box.Load(l.dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	nodes := strings.Fields(l.ok("kubectl", "--name", "test", "get", "nodes", "-o", "name"))
	if len(nodes) != 3 {
		t.Errorf("nodes %v, want two simulated ones and the process node", nodes)
	}
	var statuses []box.Status
	if err := json.Unmarshal([]byte(l.ok("status", "-o", "json")), &statuses); err != nil {
		t.Fatal(err)
	}
	if len(statuses) != 1 || !statuses[0].Running || statuses[0].Health[0].Error != "" {
		t.Errorf("status %+v", statuses)
	}
	if _, code := l.run("", "up", "--name", "test", "--install="); code != 1 {
		t.Errorf("a second lab of that name: exit code %d", code)
	}
	execChecks(t, l)
	faultsEndAndLeaveNothing(t, l)
	misbehavingPods(t, l)

	l.ok("down", "--name", "test")
	if alive(strconv.Itoa(s.PID)) {
		t.Error("the supervisor is still there")
	}
	if _, err := os.Stat(s.Dir); !os.IsNotExist(err) {
		t.Errorf("the state is still there: %v", err)
	}
}

// execChecks proves that `lab exec` is transparent.
func execChecks(t *testing.T, l lab) {
	t.Helper()
	if out, code := l.run("over stdin", "exec", "--name", "test", "--", "cat"); out != "over stdin" || code != 0 {
		t.Errorf("stdin and stdout: %q, %d", out, code)
	}
	if _, code := l.run("", "exec", "--name", "test", "--", "sh", "-c", "exit 7"); code != 7 {
		t.Errorf("exit code %d, want 7", code)
	}
	if _, code := l.run("", "exec", "--name", "test", "--", "no-such-command"); code != 127 {
		t.Errorf("exit code of a missing command: %d, want 127", code)
	}
	if out := l.ok("exec", "--name", "test", "--", "kubectl", "get", "--raw", "/readyz"); out != "ok" {
		t.Errorf("kubectl within the lab: %q", out)
	}
}

const pods = `
apiVersion: v1
kind: Pod
metadata: {name: good}
spec: {containers: [{name: app, image: example.com/app}]}
---
apiVersion: v1
kind: Pod
metadata: {name: crashing, annotations: {lab.meshlift.dev/mode: crashloop}}
spec: {containers: [{name: app, image: example.com/app}]}
---
apiVersion: v1
kind: Pod
metadata: {name: unpullable, annotations: {lab.meshlift.dev/mode: imagepull}}
spec: {containers: [{name: app, image: example.com/app}]}
---
apiVersion: v1
kind: Pod
metadata: {name: good-here, annotations: {lab.meshlift.dev/mode: imagepull@1-31}}
spec: {containers: [{name: app, image: example.com/app}]}
---
apiVersion: v1
kind: Pod
metadata: {name: process}
spec: {containers: [{name: app, image: lab.meshlift.dev/nothing}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: job}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: app, image: example.com/job}]}}}
`

// misbehavingPods proves that simulated pods do as their annotations say, and that process pods find their node.
func misbehavingPods(t *testing.T, l lab) {
	t.Helper()
	if _, code := l.run(pods, "kubectl", "--name", "test", "apply", "-f", "-"); code != 0 {
		t.Fatal("cannot create pods")
	}
	const timeout = "--timeout=60s"
	wait := func(args ...string) {
		t.Helper()
		l.ok(append([]string{"kubectl", "--name", "test", "wait", timeout}, args...)...)
	}
	wait("pod/good", "pod/good-here", "--for=condition=Ready")
	wait("job/job", "--for=condition=Complete")
	wait("pod/crashing", "--for=jsonpath={.status.containerStatuses[0].restartCount}=2")
	wait("pod/unpullable", "--for=jsonpath={.status.containerStatuses[0].state.waiting.reason}=ImagePullBackOff")
	wait("pod/process", "--for=jsonpath={.spec.nodeName}=node-0")
	for object, reason := range map[string]string{"crashing": "BackOff", "unpullable": "Failed"} {
		selector := "--field-selector=type=Warning,involvedObject.name=" + object
		deadline := time.Now().Add(20 * time.Second)
		for !strings.Contains(l.ok("kubectl", "--name", "test", "get", "events", selector), reason) {
			if time.Now().After(deadline) {
				t.Fatalf("no event %s about %s", reason, object)
			}
		}
	}
}

func TestNoProcessOutlivesAKilledSupervisor(t *testing.T) {
	l := lab{t, labBinary(t), labDir(t)}
	defer l.run("", "down", "--name", "killed")
	l.ok("up", "--name", "killed", "--install=", "--nodes", "1")
	s, err := box.Load(l.dir, "killed")
	if err != nil {
		t.Fatal(err)
	}
	children := childrenOf(t, s.PID)
	if len(children) < 5 {
		t.Fatalf("children %v, want the five parts of a control plane", children)
	}
	if err := unix.Kill(s.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	// The kernel ends the thread that the children hang on before the process itself.
	for _, pid := range append(children, strconv.Itoa(s.PID)) {
		for alive(pid) {
			if time.Now().After(deadline) {
				t.Fatalf("process %s is still alive", pid)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if _, err := box.Load(l.dir, "killed"); !errors.Is(err, box.ErrNotRunning) {
		t.Errorf("got %v", err)
	}
}

func childrenOf(t *testing.T, pid int) []string {
	t.Helper()
	tasks, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task/*/children"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range tasks {
		b, err := os.ReadFile(f)
		if err == nil {
			all = append(all, strings.Fields(string(b))...)
		}
	}
	return all
}

// alive says whether a process exists and is not a zombie that waits for its new parent.
func alive(pid string) bool {
	b, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z")
}
