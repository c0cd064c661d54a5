package container

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meshlift.dev/meshlift/lab/internal/nstest"
	"meshlift.dev/meshlift/lab/internal/podnet"
)

func TestMain(m *testing.M) {
	if Main() {
		return
	}
	os.Exit(nstest.Main(m))
}

// start runs a shell script as a container and returns it with all that it prints.
func start(t *testing.T, script string, change func(*Spec)) (*Process, func() string) {
	t.Helper()
	if !nstest.Available() {
		t.Skip("needs namespaces")
	}
	network, err := podnet.New(0)
	if err != nil {
		t.Fatal(err)
	}
	pod, err := network.AddPod()
	if err != nil {
		t.Fatal(err)
	}
	spec := Spec{Hostname: "web-0", Root: t.TempDir(), Args: []string{"sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin", "A=b"}}
	if change != nil {
		change(&spec)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start("/proc/self/exe", spec, pod.Namespace(), w, w)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		<-p.Done()
		r.Close()
		if err := pod.Close(); err != nil {
			t.Error(err)
		}
	})
	return p, func() string {
		out, err := io.ReadAll(r)
		if err != nil {
			t.Error(err)
		}
		return strings.TrimSpace(string(out))
	}
}

func TestContainerWorld(t *testing.T) {
	volume, ro := t.TempDir(), t.TempDir()
	tool := filepath.Join(t.TempDir(), "tool")
	if err := os.WriteFile(tool, []byte("#!/bin/sh\necho tool $1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	p, output := start(t, `
echo $A $$ $(hostname 2>/dev/null || cat /proc/sys/kernel/hostname)
tool here; /bin/tool2 there; cat /etc/hosts; ls /proc | grep -c '^[0-9]'; pwd
echo x > /data/x; mkdir /data/inner/y; touch /ro/x 2>/dev/null || echo ro; touch /usr/share/x 2>/dev/null || echo usr-ro
ls / | grep -c work; test -c /dev/null && echo dev
`, func(s *Spec) {
		s.Texts = map[string]string{"/etc/hosts": "127.0.0.1 me\n"}
		s.Dir = "/some/dir"
		s.Mounts = []Mount{
			{Source: volume, Target: "/data"},
			{Source: t.TempDir(), Target: "/data/inner"},
			{Source: ro, Target: "/ro", ReadOnly: true},
			{Source: tool, Target: "/usr/local/bin/tool", ReadOnly: true},
			{Source: tool, Target: "/bin/tool2", ReadOnly: true},
		}
		s.Env = []string{"A=b"}
	})
	got := output()
	<-p.Done()
	want := "b 1 web-0\ntool here\ntool there\n127.0.0.1 me\n"
	if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "/some/dir\nro\nusr-ro\n0\ndev") {
		t.Errorf("container sees:\n%s", got)
	}
	if _, err := os.Stat(filepath.Join(volume, "x")); err != nil {
		t.Error(err)
	}
	if e := p.Exit(); e.Code != 0 || e.Signal != 0 {
		t.Errorf("exit %+v", e)
	}
}

func TestReadOnlyRoot(t *testing.T) {
	_, output := start(t, `touch /x 2>/dev/null || echo no; touch /data/x && echo yes; echo > /dev/null && echo null`, func(s *Spec) {
		s.ReadOnlyRoot = true
		s.Mounts = []Mount{{Source: t.TempDir(), Target: "/data"}}
	})
	if got := output(); got != "no\nyes\nnull" {
		t.Errorf("got %q", got)
	}
}

func TestExitAndKill(t *testing.T) {
	p, _ := start(t, "exit 3", nil)
	<-p.Done()
	if p.Exit().Code != 3 {
		t.Errorf("exit %+v", p.Exit())
	}
	p, output := start(t, "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done", nil)
	time.AfterFunc(200*time.Millisecond, p.Terminate)
	if got := output(); got != "up\nbye" {
		t.Errorf("output %q", got)
	}
	p, output = start(t, "sleep 100 & sleep 100", nil)
	p.Kill()
	<-p.Done()
	output() // ends only when the background process has gone too
	if e := p.Exit(); e.Code != 137 || e.Signal != 9 {
		t.Errorf("exit %+v", e)
	}
}

func TestStartErrors(t *testing.T) {
	if !nstest.Available() {
		t.Skip("needs namespaces")
	}
	network, err := podnet.New(1)
	if err != nil {
		t.Fatal(err)
	}
	pod, err := network.AddPod()
	if err != nil {
		t.Fatal(err)
	}
	defer pod.Close()
	for _, spec := range []Spec{
		{Root: t.TempDir(), Args: []string{"no-such-program"}},
		{Root: t.TempDir(), Args: []string{"/etc"}},
		{Root: t.TempDir()},
		{Root: t.TempDir(), Args: []string{"sh"}, Mounts: []Mount{{Source: "/nowhere", Target: "/x"}}},
	} {
		_, err := Start("/proc/self/exe", spec, pod.Namespace(), nil, nil)
		var failed *StartError
		if !errors.As(err, &failed) || failed.Reason == "" {
			t.Errorf("%v: %v", spec.Args, err)
		}
	}
}

func TestExec(t *testing.T) {
	p, _ := start(t, "echo $$ > /tmp/pid; sleep 100", nil)
	var out, errOut bytes.Buffer
	code, err := p.Exec(t.Context(), ExecOptions{
		Args: []string{"sh", "-c", "until test -s /tmp/pid; do :; done; cat /tmp/pid; cat; echo $A $(cat /proc/sys/kernel/hostname) >&2; exit 4"}, Stdin: strings.NewReader("in"), Stdout: &out, Stderr: &errOut,
	})
	if err != nil || code != 4 || out.String() != "1\nin" || errOut.String() != "b web-0\n" {
		t.Errorf("code %d, err %v, out %q, stderr %q", code, err, out.String(), errOut.String())
	}
	out.Reset()
	sizes := make(chan Size, 1)
	sizes <- Size{Width: 91, Height: 33}
	code, err = p.Exec(t.Context(), ExecOptions{Args: []string{"sh", "-c", "test -t 0 && sleep 0.2 && stty size; tty"}, TTY: true, Stdout: &out, Resize: sizes})
	if err != nil || code != 0 || !strings.HasPrefix(out.String(), "33 91\r\n/dev/pts/") {
		t.Errorf("code %d, err %v, out %q", code, err, out.String())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := p.Exec(ctx, ExecOptions{Args: []string{"sleep", "100"}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("timeout: %v", err)
	}
	if _, err := p.Exec(t.Context(), ExecOptions{Args: []string{"nothing-here"}}); err == nil {
		t.Error("unknown command ran")
	}
	p.Kill()
	<-p.Done()
	if _, err := p.Exec(t.Context(), ExecOptions{Args: []string{"true"}}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after the end: %v", err)
	}
}
