// Package labtest gives tests a real cluster: a lab with a real API server, real istiods and the agent under test.
package labtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/internal/agent"
)

// AgentImage is the image name under which the lab runs the agent's binary.
const AgentImage = "ghcr.io/meshlift/meshlift"

// Lab is one running lab, seen from one of its clusters.
type Lab struct {
	Name string
	// Root of the repository.
	Root string
	// Kubeconfig for the host, and its parsed form.
	Kubeconfig string
	REST       *rest.Config
	Client     client.WithWatch
	// Charts is the URL of the chart repository, as pods see it.
	Charts string
	// HostCharts is the URL of the chart repository for the host.
	HostCharts string
}

// Up starts a lab with the given flags of "lab up". It fails the process with a clear message when nothing is built.
func Up(name string, flags ...string) (*Lab, error) {
	root, err := repository()
	if err != nil {
		return nil, err
	}
	l := &Lab{Name: name, Root: root, Charts: "http://10.128.0.1:8879/charts"}
	for _, binary := range []string{l.bin("lab"), l.bin("kube"), l.Meshlift()} {
		if _, err := os.Stat(binary); err != nil {
			return nil, fmt.Errorf("the lab is not built: run \"make lab build\" first: %w", err)
		}
	}
	if err := l.Down(); err != nil {
		return nil, err
	}
	args := append([]string{"up", "--name", name, "--image", AgentImage + "=" + l.Meshlift() + "@/app/asm-controller"}, flags...)
	if out, err := exec.Command(l.bin("lab"), args...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("start lab %s: %w\n%s", name, err, out)
	}
	if l.HostCharts, err = l.hostCharts(); err != nil {
		return l, err
	}
	cluster := "main"
	for n, flag := range flags[:max(0, len(flags)-1)] {
		if flag == "--clusters" {
			cluster, _, _ = strings.Cut(flags[n+1], ",")
		}
	}
	return l, l.connect(cluster)
}

// Cluster is the same lab seen from another one of its clusters; [Up] connects with the first.
func (l *Lab) Cluster(name string) (*Lab, error) {
	other := *l
	return &other, other.connect(name)
}

// connect with a cluster of the lab.
func (l *Lab) connect(cluster string) (err error) {
	l.Kubeconfig = filepath.Join(l.Root, ".lab", "run", l.Name, cluster+".kubeconfig")
	if l.REST, err = clientcmd.BuildConfigFromFlags("", l.Kubeconfig); err != nil {
		return fmt.Errorf("read the kubeconfig of lab %s: %w", l.Name, err)
	}
	l.REST.QPS, l.REST.Burst = 500, 1000
	scheme, err := agent.Scheme()
	if err == nil {
		err = hub.AddToScheme(scheme)
	}
	if err != nil {
		return err
	}
	if l.Client, err = client.NewWithWatch(l.REST, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("connect to lab %s: %w", l.Name, err)
	}
	return nil
}

// hostCharts asks the lab where its chart repository is.
func (l *Lab) hostCharts() (string, error) {
	b, err := os.ReadFile(filepath.Join(l.Root, ".lab", "run", l.Name, "state.json"))
	if err != nil {
		return "", fmt.Errorf("read the state of lab %s: %w", l.Name, err)
	}
	var state struct {
		Charts string `json:"charts"`
	}
	if err := json.Unmarshal(b, &state); err != nil {
		return "", fmt.Errorf("read the state of lab %s: %w", l.Name, err)
	}
	return state.Charts, nil
}

// Down stops the lab; one that does not run is no error.
func (l *Lab) Down() error {
	if out, err := exec.Command(l.bin("lab"), "down", "--name", l.Name).CombinedOutput(); err != nil && !strings.Contains(string(out), "not running") && !strings.Contains(string(out), "no lab") {
		return fmt.Errorf("stop lab %s: %w\n%s", l.Name, err, out)
	}
	return nil
}

// repository finds the root of the repository upward from the working directory.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if b, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && bytes.HasPrefix(b, []byte("module meshlift.dev/meshlift\n")) {
			return dir, nil
		}
	}
	return "", errors.New("find the repository: no go.mod of meshlift.dev/meshlift above the working directory")
}

func (l *Lab) bin(name string) string { return filepath.Join(l.Root, ".lab", "bin", name) }

// Meshlift is the binary under test.
func (l *Lab) Meshlift() string { return filepath.Join(l.Root, "bin", "meshlift") }

// Result of a command.
type Result struct {
	Code           int
	Stdout, Stderr string
}

// CLI runs meshlift on the host with the lab's kubeconfig and returns what it said.
func (l *Lab) CLI(t testing.TB, args ...string) Result {
	t.Helper()
	return l.run(t, nil, l.Meshlift(), append(args, "--kubeconfig", l.Kubeconfig)...)
}

// Kubectl runs kubectl and fails the test when it fails.
func (l *Lab) Kubectl(t testing.TB, stdin io.Reader, args ...string) string {
	t.Helper()
	r := l.run(t, stdin, l.bin("kube"), append([]string{"kubectl", "--kubeconfig", l.Kubeconfig}, args...)...)
	if r.Code != 0 {
		t.Fatalf("kubectl %s: exit code %d\n%s%s", strings.Join(args, " "), r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// Istioctl runs the real istioctl inside the lab and fails the test when it fails.
func (l *Lab) Istioctl(t testing.TB, args ...string) string {
	t.Helper()
	r := l.run(t, nil, l.bin("lab"), append([]string{"exec", "--name", l.Name, "--", l.bin("istio-1.31.0-istioctl")}, args...)...)
	if r.Code != 0 {
		t.Fatalf("istioctl %s: exit code %d\n%s%s", strings.Join(args, " "), r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

func (l *Lab) run(t testing.TB, stdin io.Reader, binary string, args ...string) Result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("run %s: %v", binary, err)
	}
	return Result{Code: cmd.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}
}

// Traffic is what the gRPC clients of the lab counted.
type Traffic struct {
	Calls  int64 `json:"calls"`
	OK     int64 `json:"ok"`
	Failed int64 `json:"failed"`
}

// Traffic asks the lab how many calls its clients made and lost.
func (l *Lab) Traffic(t testing.TB) Traffic {
	t.Helper()
	r := l.run(t, nil, l.bin("lab"), "traffic", "--name", l.Name, "-o", "json")
	var report struct {
		Total Traffic `json:"total"`
	}
	if err := json.Unmarshal([]byte(r.Stdout), &report); err != nil || r.Code != 0 {
		t.Fatalf("read the traffic: exit code %d, %v\n%s%s", r.Code, err, r.Stdout, r.Stderr)
	}
	return report.Total
}

// patience is how long anything is waited for. What tests wait for takes seconds; but several labs share a machine, and nobody
// promises that it is a fast one.
const patience = 5 * time.Minute

// Eventually waits until the condition holds; the condition returns what is still missing. It looks again whenever a
// short moment has passed and gives up when that has taken minutes, so that how long something takes decides no test.
func Eventually(t testing.TB, what string, condition func(ctx context.Context) (missing string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	missing := ""
	for {
		if now := condition(ctx); now == "" {
			return
		} else if ctx.Err() == nil {
			missing = now
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %s", what, patience, missing)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
