package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/helm"
	"meshlift.dev/meshlift/internal/release"
	"meshlift.dev/meshlift/test/lab/labtest"
)

// platform is a hub with one member, in which others have installed what a platform has besides Istio.
type platform struct {
	*labtest.Lab
	east *labtest.Lab
	helm *helm.Client
	hub  *exec.Cmd
	log  *os.File
}

// startHub runs the hub as a process of the host; kill ends it without a word.
func (p *platform) startHub(t *testing.T) {
	t.Helper()
	p.hub = hubProcess(t, p.Lab, p.log, "--api-bind-address=0")
}

func (p *platform) killHub() {
	_ = p.hub.Process.Signal(syscall.SIGKILL)
	_ = p.hub.Wait()
}

func setupPlatform(t *testing.T) *platform {
	t.Helper()
	p := &platform{Lab: up(t, "components", "--clusters", "hub,east", "--install", "", "--workloads", "")}
	var err error
	if p.east, err = p.Cluster("east"); err != nil {
		t.Fatal(err)
	}
	if p.helm, err = helm.New(helm.Options{REST: p.east.REST}); err != nil {
		t.Fatal(err)
	}
	if p.log, err = os.Create(filepath.Join(t.TempDir(), "hub.log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.killHub()
		if text, err := os.ReadFile(p.log.Name()); err == nil && t.Failed() {
			t.Logf("the end of the log of the hub:\n%s", text[max(0, len(text)-6000):])
		}
	})
	p.Kubectl(t, nil, "apply", "-f", filepath.Join(p.Root, "charts", "meshlift", "crds"))
	p.Kubectl(t, nil, "wait", "--for=condition=Established", "crd", "--all", "--timeout=5m")
	kubeconfig, err := os.ReadFile(p.east.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	namespace(t, p.Lab, "cpaas-system", nil)
	p.catalog(t, "1.1.0")
	for _, o := range []client.Object{
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "cpaas-system", Name: "east"}, Data: map[string][]byte{"kubeconfig": kubeconfig}},
		&hub.MemberCluster{ObjectMeta: metav1.ObjectMeta{Name: "east"}, Spec: hub.MemberClusterSpec{KubeconfigSecret: "east"}},
	} {
		if err := p.Client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	p.byOthers(t, "canary", "flagger-system", "flagger", "1.0.0", map[string]any{"logLevel": "debug", "hookDelay": "4s"})
	p.byOthers(t, "tracing", "observability", "jaeger-operator", "2.0.0", map[string]any{"podLabels": map[string]any{"team": "sre"}})
	p.olderAgent(t)
	startFakeOLM(t, p.east)
	p.startHub(t)
	return p
}

// catalog names the versions that the site offers; the asm-operator is what its OLM channel offers.
func (p *platform) catalog(t *testing.T, flagger string) {
	t.Helper()
	c := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"chartRepository": p.HostCharts,
		"components": []any{
			map[string]any{"name": "flagger-operator", "title": "Flagger Operator", "version": flagger, "helm": map[string]any{"chart": "flagger"}},
			map[string]any{"name": "jaeger-operator", "title": "Jaeger Operator", "version": "2.1.0", "helm": map[string]any{"chart": "jaeger-operator"}},
		},
	}}}
	c.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Catalog"))
	c.SetName(v1alpha1.SingletonName)
	if err := p.Client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(c), client.FieldOwner("site"), client.ForceOwnership); err != nil {
		t.Fatal(err)
	}
}

// byOthers installs a chart as somebody who knows nothing of Meshlift.
func (p *platform) byOthers(t *testing.T, name, ns, chart, version string, values map[string]any) {
	t.Helper()
	namespace(t, p.east, ns, nil)
	source := release.Source{Repository: p.HostCharts, Name: chart, Version: version}
	crds, err := p.helm.CRDs(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	for _, crd := range crds {
		if err := p.east.Client.Create(t.Context(), crd); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.helm.Apply(t.Context(), release.Spec{Name: name, Namespace: ns, Source: source, Values: values}); err != nil {
		t.Fatal(err)
	}
	available(t, p.east, ns, name)
}

// olderAgent installs the chart of the agent as if it were an earlier version. Its image is none that the lab runs, so its pods are
// simulated: what is shown is the upgrade of the release, and nothing of the agent itself.
func (p *platform) olderAgent(t *testing.T) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "meshlift-agent")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(p.Root, "charts", "meshlift-agent"))); err != nil {
		t.Fatal(err)
	}
	about, err := os.ReadFile(filepath.Join(dir, "Chart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	about = []byte(strings.ReplaceAll(string(about), "ersion: 0.1.0", "ersion: 0.0.9"))
	if err := os.WriteFile(filepath.Join(dir, "Chart.yaml"), about, 0o600); err != nil {
		t.Fatal(err)
	}
	namespace(t, p.east, "istio-system", nil)
	namespace(t, p.east, "cpaas-system", nil)
	if err := p.helm.Apply(t.Context(), release.Spec{
		Name: "meshlift", Namespace: "cpaas-system", Source: release.Source{Repository: filepath.Dir(dir), Name: "meshlift-agent", Version: "0.0.9"},
		Values: map[string]any{"image": map[string]any{"repository": "registry.example.com/agent", "tag": "0.0.9"}, "replicas": 1},
	}); err != nil {
		t.Fatal(err)
	}
}

// release is what Helm remembers.
func (p *platform) release(t *testing.T, ns, name string) *release.Release {
	t.Helper()
	r, err := p.helm.Release(t.Context(), ns, name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// row waits until a component of east is as it should be.
func (p *platform) row(t *testing.T, name, running, offered string, phase hub.ComponentPhase) hub.ComponentStatus {
	t.Helper()
	var out hub.ComponentStatus
	labtest.Eventually(t, name+" is "+string(phase)+" at "+running, func(ctx context.Context) string {
		m := &hub.MemberCluster{}
		if err := p.Client.Get(ctx, client.ObjectKey{Name: "east"}, m); err != nil {
			return err.Error()
		}
		for _, r := range m.Status.Components {
			if out = r; r.Name == name && r.Running == running && r.Offered == offered && r.Phase == phase {
				return ""
			}
		}
		return fmt.Sprintf("%+v", m.Status.Components)
	})
	return out
}

// ready waits until step 1 has an answer.
func (p *platform) ready(t *testing.T, want metav1.ConditionStatus, about string) {
	t.Helper()
	labtest.Eventually(t, "ComponentsReady is "+string(want)+" with "+about, func(ctx context.Context) string {
		m := &hub.MemberCluster{}
		if err := p.Client.Get(ctx, client.ObjectKey{Name: "east"}, m); err != nil {
			return err.Error()
		}
		c := meta.FindStatusCondition(m.Status.Conditions, hub.ConditionComponentsReady)
		if c == nil || c.Status != want || !strings.Contains(c.Message, about) {
			return fmt.Sprintf("%+v", c)
		}
		return ""
	})
}

func TestComponentsOfAMemberAreFoundUpgradedAndKeptWhenTheyFail(t *testing.T) {
	t.Parallel()
	p := setupPlatform(t)
	t.Run("what others installed is found, and step 1 is closed", p.areFound)
	t.Run("one is upgraded with its values and its CRDs, and no other", p.oneIsUpgraded)
	t.Run("all are upgraded although the hub is killed in the middle", p.allAreUpgraded)
	t.Run("one that fails keeps the old version and says why", p.failureKeepsTheOld)
}

func (p *platform) areFound(t *testing.T) {
	p.row(t, "asm", "0.0.9", "0.1.0", hub.ComponentUpgradeable)
	p.row(t, "asm-operator", "4.0.0", "4.1.0", hub.ComponentUpgradeable)
	if r := p.row(t, "flagger-operator", "1.0.0", "1.1.0", hub.ComponentUpgradeable); r.InstalledBy != "Helm release canary in flagger-system" || !r.BeforeIstio {
		t.Errorf("%+v", r)
	}
	p.ready(t, metav1.ConditionFalse, "asm 0.0.9 (0.1.0 is offered), Flagger Operator 1.0.0 (1.1.0 is offered), Asm Operator 4.0.0 (4.1.0 is offered), Jaeger Operator 2.0.0")
	r := p.CLI(t, "components", "--cluster", "east")
	for _, want := range []string{"OLM subscription asm in operators", "Helm release tracing in observability", "kubernetes", "components upgrade --all --cluster east"} {
		if r.Code != 0 || !strings.Contains(r.Stdout, want) {
			t.Errorf("exit code %d, no %q in\n%s%s", r.Code, want, r.Stdout, r.Stderr)
		}
	}
}

func (p *platform) oneIsUpgraded(t *testing.T) {
	r := p.CLI(t, "components", "upgrade", "jaeger-operator", "--cluster", "east", "--timeout", "5m")
	if r.Code != 0 || !strings.Contains(r.Stdout, "version 2.1.0 runs") {
		t.Fatalf("exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	is := p.release(t, "observability", "tracing")
	if is.ChartVersion != "2.1.0" || is.Status != "deployed" || is.Revision != 2 || fmt.Sprint(is.Values) != "map[podLabels:map[team:sre]]" {
		t.Errorf("%+v", is)
	}
	if other := p.release(t, "flagger-system", "canary"); other.Revision != 1 {
		t.Errorf("nobody asked for this: %+v", other)
	}
	crd := &unstructured.Unstructured{}
	crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	if err := p.east.Client.Get(t.Context(), client.ObjectKey{Name: "jaegeroperators.standin.lab.meshlift.dev"}, crd); err != nil || crd.GetLabels()["lab.meshlift.dev/version"] != "2.1.0" {
		t.Errorf("the CRD of the chart has the labels %v, %v", crd.GetLabels(), err)
	}
}

func (p *platform) allAreUpgraded(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), p.Meshlift(), "components", "upgrade", "--all", "--cluster", "east", "--timeout", "5m", "--kubeconfig", p.Kubeconfig)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// A hook of the chart holds the upgrade in the middle for some seconds.
	labtest.Eventually(t, "the upgrade is under way", func(ctx context.Context) string {
		r, err := p.helm.Release(ctx, "flagger-system", "canary")
		if err != nil || r.Status != "pending-upgrade" {
			return fmt.Sprintf("%+v %v", r, err)
		}
		return ""
	})
	p.killHub()
	if is := p.release(t, "flagger-system", "canary"); is.Status != "pending-upgrade" {
		t.Errorf("the kill proves nothing: %+v", is)
	}
	p.startHub(t)
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "version 1.1.0 runs") || !strings.Contains(out.String(), "version 4.1.0 runs") {
		t.Fatalf("%v\n%s", err, out.String())
	}
	is := p.release(t, "flagger-system", "canary")
	if is.ChartVersion != "1.1.0" || is.Status != "deployed" || is.Values["logLevel"] != "debug" {
		t.Errorf("%+v", is)
	}
	agent := p.release(t, "cpaas-system", "meshlift")
	if agent.ChartVersion != "0.1.0" || agent.Status != "deployed" || fmt.Sprint(agent.Values) != "map[image:map[repository:registry.example.com/agent] replicas:1]" {
		t.Errorf("%+v", agent)
	}
	for _, kind := range []string{"controlplanes", "clusterupgrades", "dataplanerollouts"} {
		p.east.Kubectl(t, nil, "get", "crd", kind+".meshlift.dev") // Helm left the CRDs alone when it upgraded
	}
	if again := p.CLI(t, "components", "upgrade", "--all", "--cluster", "east"); again.Code != 0 || !strings.Contains(again.Stdout, "Nothing to upgrade") {
		t.Errorf("exit code %d\n%s%s", again.Code, again.Stdout, again.Stderr)
	}
	p.ready(t, metav1.ConditionTrue, "")
}

func (p *platform) failureKeepsTheOld(t *testing.T) {
	p.catalog(t, "1.2.0") // its image cannot be pulled
	p.row(t, "flagger-operator", "1.1.0", "1.2.0", hub.ComponentUpgradeable)
	r := p.CLI(t, "components", "upgrade", "flagger-operator", "--cluster", "east", "--timeout", "5m")
	if r.Code != 1 || !strings.Contains(r.Stdout, "version 1.2.0 of Helm release canary in flagger-system did not become ready") ||
		!strings.Contains(r.Stdout, "ImagePull") || !strings.Contains(r.Stdout, "the old version is kept") {
		t.Errorf("exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	p.row(t, "flagger-operator", "1.1.0", "1.2.0", hub.ComponentFailed)
	is := p.release(t, "flagger-system", "canary")
	if is.ChartVersion != "1.1.0" || is.Status != "deployed" || is.Values["logLevel"] != "debug" {
		t.Errorf("it was not rolled back: %+v", is)
	}
	available(t, p.east, "flagger-system", "canary")
	p.ready(t, metav1.ConditionFalse, "could not be upgraded: Flagger Operator (version 1.2.0")
	// A later request is a retry, and fails like the first.
	if r := p.CLI(t, "components", "upgrade", "flagger-operator", "--cluster", "east", "--timeout", "5m"); r.Code != 1 || !strings.Contains(r.Stdout, "did not become ready") {
		t.Errorf("exit code %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	p.row(t, "flagger-operator", "1.1.0", "1.2.0", hub.ComponentFailed)
	p.catalog(t, "1.1.0")
	p.ready(t, metav1.ConditionTrue, "")
}
