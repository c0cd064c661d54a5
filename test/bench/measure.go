package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/test/lab/labtest"
)

const (
	agentNamespace = "cpaas-system"
	upgradeName    = "1-30-to-1-31"
	unlimited      = 10_000
)

type bench struct {
	options
	lab     *labtest.Lab
	kube    kubernetes.Interface
	tracker *tracker
	agents  []string
	stop    context.CancelFunc
	report  report
}

func newBench(ctx context.Context, o options, l *labtest.Lab) (*bench, error) {
	kube, err := kubernetes.NewForConfig(l.REST)
	if err != nil {
		return nil, fmt.Errorf("make the client: %w", err)
	}
	b := &bench{options: o, lab: l, kube: kube, report: report{
		date: time.Now().UTC(), workloads: o.namespaces * 50, parallelism: o.parallelism, cores: runtime.NumCPU(), machine: machine(), commit: commit(l.Root),
	}}
	ctx, b.stop = context.WithCancel(ctx)
	b.tracker, err = newTracker(ctx, kube)
	return b, err
}

// measure goes through everything, in an order in which the workloads are where the next step needs them: on the old
// revision after (a), on the new one after (e) and on the old one after taking that back, on the new one after (d), on the
// old one after (c), on the new one after (b).
func (b *bench) measure(ctx context.Context) error {
	if err := b.method(ctx, "a", "`kubectl rollout restart` of all at once", b.restartAll); err != nil {
		return err
	}
	if err := b.install(ctx); err != nil {
		return err
	}
	if err := b.atRest(ctx, "no upgrade"); err != nil {
		return err
	}
	if err := b.startUpgrade(ctx); err != nil {
		return err
	}
	if err := b.atRest(ctx, "an upgrade is open"); err != nil {
		return err
	}
	if b.plain {
		if err := b.method(ctx, "e", "the labels of (d) by one `kubectl apply --server-side` of all", b.label(true)); err != nil {
			return err
		}
		if err := b.unmeasured(ctx, b.label(false)); err != nil {
			return err
		}
	}
	if err := b.method(ctx, "d", "Meshlift, unlimited", b.rollout(unlimited)); err != nil {
		return err
	}
	if err := b.method(ctx, "c", fmt.Sprintf("Meshlift, parallelism %d", b.parallelism), b.rollout(b.parallelism, "--back")); err != nil {
		return err
	}
	if b.loop {
		if err := b.method(ctx, "b", "a shell loop over the namespaces", b.shellLoop); err != nil {
			return err
		}
	}
	if b.many > 0 {
		return b.manyPods(ctx)
	}
	return nil
}

// method measures one way of restarting every workload.
func (b *bench) method(ctx context.Context, letter, what string, do func(context.Context) error) error {
	progress("(%s) %s", letter, what)
	before, err := b.look(ctx)
	if err != nil {
		return err
	}
	began := b.tracker.begin()
	if err := do(ctx); err != nil {
		return err
	}
	courses, err := b.tracker.finished(ctx, b.report.workloads)
	if err != nil {
		return err
	}
	wall := time.Since(began)
	after, err := b.look(ctx)
	if err != nil {
		return err
	}
	progress("(%s) took %.1f s", letter, wall.Seconds())
	b.report.runs = append(b.report.runs, result{
		letter: letter, what: what, wall: wall, courses: courses, requests: after.requests.minus(before.requests), cpu: spent(before.usage, after.usage), agent: after.usage["agent"],
	})
	return nil
}

// reading is one look at all counters.
type reading struct {
	at       time.Time
	requests requests
	usage    map[string]usage
}

func (b *bench) look(ctx context.Context) (reading, error) {
	r := reading{at: time.Now()}
	var err error
	if r.requests, err = countRequests(ctx, b.kube.CoreV1().RESTClient(), b.agents); err != nil {
		return r, err
	}
	r.usage, err = processes(filepath.Join(b.lab.Root, ".lab", "run", b.name))
	return r, err
}

// unmeasured restarts every workload between two methods.
func (b *bench) unmeasured(ctx context.Context, do func(context.Context) error) error {
	b.tracker.begin()
	if err := do(ctx); err != nil {
		return err
	}
	_, err := b.tracker.finished(ctx, b.report.workloads)
	return err
}

// restartAll is one command for everything: what the API server can do at all.
func (b *bench) restartAll(ctx context.Context) error {
	return b.withAll(ctx, "", "rollout", "restart")
}

// label is what (d) changes in the end, without looking, reading and rehearsing: a move to the other revision costs at least
// this. As Meshlift's own field manager it can be taken away again.
func (b *bench) label(on bool) func(context.Context) error {
	labels := "{}"
	if on {
		labels = fmt.Sprintf("{%s: %q}", v1alpha1.RevisionLabel, "1-31")
	}
	return func(ctx context.Context) error {
		return b.withAll(ctx, "spec: {template: {metadata: {labels: "+labels+"}}}\n", "apply", "--server-side", "--force-conflicts", "--field-manager", v1alpha1.FieldManager)
	}
}

// withAll runs kubectl for every Deployment, with the lines in its manifest.
func (b *bench) withAll(ctx context.Context, lines string, args ...string) error {
	manifests := filepath.Join(os.TempDir(), b.name+"-deployments.yaml")
	defer func() { _ = os.Remove(manifests) }()
	var all strings.Builder
	for n := range b.namespaces {
		for m := range 50 {
			fmt.Fprintf(&all, "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app-%02d, namespace: %s%d}\n%s", m, workloadPrefix, n, lines)
		}
	}
	if err := os.WriteFile(manifests, []byte(all.String()), 0o600); err != nil {
		return fmt.Errorf("write the list of workloads: %w", err)
	}
	return b.kubectl(ctx, append(args, "-f", manifests)...)
}

// shellLoop is what people do without Meshlift: label a namespace, restart it, wait for it, then the next one.
func (b *bench) shellLoop(ctx context.Context) error {
	script := fmt.Sprintf(`set -e
for n in $(seq 0 %d); do
  k label namespace %s$n istio.io/rev=1-31 --overwrite
  k rollout restart deployment -n %s$n
  k rollout status deployment -n %s$n --timeout 10m
done`, b.namespaces-1, workloadPrefix, workloadPrefix, workloadPrefix)
	script = fmt.Sprintf("k() { %q kubectl --kubeconfig %q \"$@\" >/dev/null; }\n", filepath.Join(b.lab.Root, ".lab", "bin", "kube"), b.lab.Kubeconfig) + script
	return command(ctx, "bash", "-c", script)
}

// rollout moves everything with Meshlift.
func (b *bench) rollout(parallelism int, flags ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		return b.meshlift(ctx, append([]string{"rollout", "--no-prompt", "--parallelism", fmt.Sprint(parallelism)}, flags...)...)
	}
}

// install installs the agent as a user would, and waits for it.
func (b *bench) install(ctx context.Context) error {
	progress("installing the agent")
	if err := b.meshlift(ctx, "install"); err != nil {
		return err
	}
	catalog := filepath.Join(b.lab.Root, "examples", "lab-catalog.yaml")
	if err := poll(ctx, time.Minute, func(ctx context.Context) error { return b.kubectl(ctx, "apply", "-f", catalog) }); err != nil {
		return err
	}
	pods := &corev1.PodList{}
	if err := b.lab.Client.List(ctx, pods, client.InNamespace(agentNamespace)); err != nil {
		return fmt.Errorf("list the agent's pods: %w", err)
	}
	for n := range pods.Items {
		b.agents = append(b.agents, pods.Items[n].Name)
	}
	return nil
}

func (b *bench) startUpgrade(ctx context.Context) error {
	if err := b.meshlift(ctx, "upgrade", "start", "--to", "1.31", "--yes"); err != nil {
		return err
	}
	return poll(ctx, 2*time.Minute, func(ctx context.Context) error {
		u := &v1alpha1.ClusterUpgrade{}
		if err := b.lab.Client.Get(ctx, client.ObjectKey{Name: upgradeName}, u); err != nil {
			return err
		}
		if !meta.IsStatusConditionTrue(u.Status.Conditions, v1alpha1.ConditionEnvoyFiltersHandled) {
			return errors.New("the upgrade is not ready for data planes")
		}
		return nil
	})
}

// atRest watches the agent while nothing happens.
func (b *bench) atRest(ctx context.Context, when string) error {
	progress("the agent at rest: %s", when)
	if err := pause(ctx, 10*time.Second); err != nil { // what the step before set going comes to rest
		return err
	}
	before, err := b.look(ctx)
	if err != nil {
		return err
	}
	if err := pause(ctx, b.rest); err != nil {
		return err
	}
	after, err := b.look(ctx)
	if err != nil {
		return err
	}
	b.report.rests = append(b.report.rests, quiet{
		when: when, took: after.at.Sub(before.at), requests: after.requests.minus(before.requests),
		cpu: after.usage["agent"].cpu - before.usage["agent"].cpu, rss: after.usage["agent"].rss,
	})
	return nil
}

func (b *bench) meshlift(ctx context.Context, args ...string) error {
	return command(ctx, b.lab.Meshlift(), append(args, "--kubeconfig", b.lab.Kubeconfig)...)
}

func (b *bench) kubectl(ctx context.Context, args ...string) error {
	return command(ctx, filepath.Join(b.lab.Root, ".lab", "bin", "kube"), append([]string{"kubectl", "--kubeconfig", b.lab.Kubeconfig}, args...)...)
}

func command(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, out[max(0, len(out)-2000):])
	}
	return nil
}

func poll(ctx context.Context, within time.Duration, f func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, within, true, func(ctx context.Context) (bool, error) {
		last = f(ctx)
		return last == nil, nil
	})
	return errors.Join(err, last)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// machine is the model of the processor.
func machine() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func commit(root string) string {
	out, err := exec.Command("git", "-C", root, "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
