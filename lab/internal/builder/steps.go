package builder

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"meshlift.dev/meshlift/lab/internal/controlplane"
)

// Istio is built twice from one source. The charts of the older version have its compatibility settings as defaults,
// so that the two versions configure proxies differently, as real ones do.
const (
	// NewerIstio is the version of Istio that the source is.
	NewerIstio = "1.31.0"
	// OlderIstio is the version that the same source pretends to be.
	OlderIstio = "1.30.0"
	// RolloutsController is the binary of Argo Rollouts' controller.
	RolloutsController = "rollouts-controller"
	// IstioHub is the registry of Istio's images.
	IstioHub = "docker.io/istio"

	olderCompatibility = "1.30"
	istioModule        = "istio.io/istio"
	istioCommit        = "eed52ebb66ad"
	gatewayAPI         = "sigs.k8s.io/gateway-api"
	argoRollouts       = "github.com/argoproj/argo-rollouts"
	olmAPI             = "github.com/operator-framework/api"
	kwokVersion        = "0.8.0"
	noCommit           = "0000000000000000000000000000000000000000"
	anyBuildDate       = "2026-01-01T00:00:00Z"

	// gracePeriod is how long the go command may take to end when interrupted.
	gracePeriod = 5 * time.Second
)

func (b *Builder) steps() []step {
	kube, istio, argo := filepath.Join(b.Source, "kube"), filepath.Join(b.Source, "istio"), filepath.Join(b.Source, "argo")
	binary := func(version, program string) string { return "istio-" + version + "-" + program }
	discovery, agent := istioModule+"/pilot/cmd/pilot-discovery", istioModule+"/pilot/cmd/pilot-agent"
	return []step{
		b.goBuild("lab", b.Source, "./cmd/lab", "", false),
		b.goBuild("kube", kube, ".", kubeFlags(), false),
		b.goBuild(binary(NewerIstio, "pilot-discovery"), istio, discovery, istioFlags(NewerIstio), true),
		b.goBuild(binary(NewerIstio, "pilot-agent"), istio, agent, istioFlags(NewerIstio), true),
		b.goBuild(binary(NewerIstio, "istioctl"), istio, istioModule+"/istioctl/cmd/istioctl", istioFlags(NewerIstio), true),
		b.goBuild(binary(OlderIstio, "pilot-discovery"), istio, discovery, istioFlags(OlderIstio), true),
		b.goBuild(binary(OlderIstio, "pilot-agent"), istio, agent, istioFlags(OlderIstio), true),
		b.charts(istio, NewerIstio, ""),
		b.charts(istio, OlderIstio, olderCompatibility),
		b.gatewayCRDs(istio),
		b.goBuild(RolloutsController, argo, argoRollouts+"/cmd/rollouts-controller", "", true),
		b.rolloutsManifest(argo),
		b.olmCRDs(filepath.Join(b.Source, "olm")),
	}
}

// kubeFlags stamps the versions that clients of the control plane parse.
func kubeFlags() string {
	var flags strings.Builder
	for _, p := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		major, minor, _ := strings.Cut(strings.TrimPrefix(controlplane.KubeVersion, "v"), ".")
		minor, _, _ = strings.Cut(minor, ".")
		fmt.Fprintf(&flags, " -X %[1]s.gitVersion=%[2]s -X %[1]s.gitMajor=%[3]s -X %[1]s.gitMinor=%[4]s -X %[1]s.gitCommit=%[5]s -X %[1]s.gitTreeState=clean -X %[1]s.buildDate=%[6]s",
			p, controlplane.KubeVersion, major, minor, noCommit, anyBuildDate)
	}
	return flags.String() + " -X sigs.k8s.io/kwok/pkg/consts.Version=" + kwokVersion
}

func istioFlags(version string) string {
	const p = istioModule + "/pkg/version"
	return fmt.Sprintf(" -X %[1]s.buildVersion=%[2]s -X %[1]s.buildGitRevision=%[3]s -X %[1]s.buildStatus=Clean -X %[1]s.buildTag=%[2]s -X %[1]s.buildHub=%[4]s",
		p, version, istioCommit, IstioHub)
}

// goBuild is the step that builds a main package of the module in dir as .lab/bin/<name>.
func (b *Builder) goBuild(name, dir, pkg, ldflags string, trimpath bool) step {
	output := b.Dir.Bin(name)
	args := []string{"build", "-v", "-buildvcs=false", "-ldflags", "-s -w" + ldflags, "-o", output + ".tmp"}
	if trimpath {
		args = append(args, "-trimpath")
	}
	args = append(args, pkg)
	return step{
		name: name, outputs: []string{output},
		stamp: func(context.Context) (string, error) {
			if pkg == "./cmd/lab" {
				return time.Now().String(), nil // Go itself knows best whether the sources have changed
			}
			return stamp(dir, args)
		},
		run: func(ctx context.Context, p *progress) error {
			if err := runGo(ctx, dir, p, args...); err != nil {
				return err
			}
			if err := os.Rename(output+".tmp", output); err != nil {
				return fmt.Errorf("install: %w", err)
			}
			return nil
		},
	}
}

// stamp hashes what decides about the output of a build: module versions, own sources, flags, Go itself.
func stamp(dir string, args []string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), args)
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return "", fmt.Errorf("stamp: %w", err)
	}
	for _, f := range append(files, filepath.Join(dir, "go.mod"), filepath.Join(dir, "go.sum")) {
		content, err := os.ReadFile(f)
		if err != nil {
			return "", fmt.Errorf("stamp: %w", err)
		}
		fmt.Fprintln(h, filepath.Base(f), len(content))
		h.Write(content)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// runGo runs the go command in dir; every package that it names on stderr is progress. Its last lines are the error.
func runGo(ctx context.Context, dir string, p *progress, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = gracePeriod
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return fmt.Errorf("go: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("go: %w", err)
	}
	last := follow(stderr, p)
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("go %s: %w\n%s", args[0], err, last)
	}
	return nil
}

// follow counts the compiled packages that the go command prints and returns the last lines that it printed.
func follow(r io.Reader, p *progress) string {
	var last []string
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, "go: downloading") && !strings.ContainsAny(line, " \t") {
			p.add(1)
		}
		last = append(last, line)
		last = last[max(0, len(last)-15):]
	}
	return strings.Join(last, "\n")
}

// moduleDir returns where the source of a module of the build list of dir is, downloading it when needed.
func moduleDir(ctx context.Context, dir, module string) (string, error) {
	var out bytes.Buffer
	for _, args := range [][]string{{"mod", "download", module}, {"list", "-m", "-f", "{{.Dir}}", module}} {
		cmd := exec.CommandContext(ctx, "go", args...)
		out.Reset()
		cmd.Dir, cmd.Stdout = dir, &out
		cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
		if err := cmd.Run(); err != nil {
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				return "", fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, exit.Stderr)
			}
			return "", fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
		}
	}
	return strings.TrimSpace(out.String()), nil
}
