package install

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/release"
)

// helm records what it is asked for.
type helm struct {
	before      *release.Release // of the usual name
	applied     *release.Spec
	uninstalled bool
	gone        string
	files       []string
}

func (h *helm) Apply(_ context.Context, s release.Spec) error {
	h.applied = &s
	found, err := filepath.Glob(filepath.Join(s.Source.Repository, s.Source.Name, "templates", "*"))
	h.files = found
	return err
}

func (h *helm) Render(context.Context, release.Spec) ([]*unstructured.Unstructured, error) {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "Service"})
	o.SetName("asm-controller")
	return []*unstructured.Unstructured{o}, nil
}

func (h *helm) Release(_ context.Context, _, name string) (*release.Release, error) {
	if h.before == nil || name != Release {
		return nil, release.ErrNotFound
	}
	return h.before, nil
}

func (h *helm) Uninstall(_ context.Context, _, name string) error {
	h.uninstalled, h.gone = true, name
	return nil
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func deployment(available int32) *appsv1.Deployment {
	two := int32(2)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: Deployment},
		Spec:       appsv1.DeploymentSpec{Replicas: &two},
		Status:     appsv1.DeploymentStatus{Replicas: 2, UpdatedReplicas: 2, AvailableReplicas: available},
	}
}

type result struct {
	out    string
	err    error
	client client.Client
	helm   *helm
}

func run(t *testing.T, h *helm, objects []client.Object, args ...string) result {
	t.Helper()
	c := fake.NewClientBuilder().WithScheme(env.Scheme()).WithObjects(objects...).Build()
	streams, _, out, _ := genericiooptions.NewTestIOStreams()
	e := &env.Env{IOStreams: streams, Program: "meshlift", Connect: func() (client.WithWatch, error) { return c, nil }}
	connect := func() (Releases, error) { return h, nil }
	cmd := NewCommand(e, connect)
	if args[0] == "uninstall" {
		cmd = NewUninstallCommand(e, connect)
	}
	cmd.SetArgs(args[1:])
	cmd.SetOut(&bytes.Buffer{})
	cmd.SetErr(&bytes.Buffer{})
	err := cmd.ExecuteContext(context.Background())
	return result{out.String(), err, c, h}
}

func TestInstallAppliesTheKindsAndThenTheChart(t *testing.T) {
	r := run(t, &helm{}, []client.Object{namespace("istio-system")}, "install", "--wait=false", "--image", "example.com:5000/m:1", "--set", "replicas=1")
	if r.err != nil {
		t.Fatal(r.err)
	}
	for _, name := range []string{"catalogs", "clusterupgrades", "controlplanes", "dataplanerollouts"} {
		crd := &unstructured.Unstructured{}
		crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
		if err := r.client.Get(context.Background(), client.ObjectKey{Name: name + ".meshlift.dev"}, crd); err != nil {
			t.Errorf("CRD %s: %v", name, err)
		}
	}
	ns := &corev1.Namespace{}
	if err := r.client.Get(context.Background(), client.ObjectKey{Name: Namespace}, ns); err != nil || ns.Labels["pod-security.kubernetes.io/enforce"] != "restricted" {
		t.Errorf("namespace of the agent: %v, labels %v", err, ns.Labels)
	}
	want := map[string]any{"image": map[string]any{"repository": "example.com:5000/m", "tag": "1"}, "replicas": int64(1)}
	if diff := cmp.Diff(want, r.helm.applied.Values); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	if len(r.helm.files) < 5 {
		t.Errorf("the chart that Helm got has the templates %q", r.helm.files)
	}
	if _, err := os.Stat(r.helm.applied.Source.Repository); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the unpacked chart stayed: %v", err)
	}
}

func TestTheHubIsInstalledWhereThereIsNoIstio(t *testing.T) {
	r := run(t, &helm{}, nil, "install", "--hub", "--wait=false")
	if r.err != nil {
		t.Fatal(r.err)
	}
	for _, name := range []string{"catalogs.meshlift.dev", "meshes.hub.meshlift.dev", "memberclusters.hub.meshlift.dev", "meshupgrades.hub.meshlift.dev"} {
		crd := &unstructured.Unstructured{}
		crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
		if err := r.client.Get(context.Background(), client.ObjectKey{Name: name}, crd); err != nil {
			t.Errorf("CRD %s: %v", name, err)
		}
	}
	if a := r.helm.applied; a.Name != Release || a.Source.Name != "meshlift" || len(a.Labels) > 0 {
		t.Errorf("release %+v", a)
	}
	if !strings.Contains(r.out, "mesh create") {
		t.Errorf("the next step is not told: %q", r.out)
	}
	// The agent of the same cluster has the usual name.
	r = run(t, &helm{before: &release.Release{Chart: "meshlift-agent"}}, nil, "install", "--hub", "--wait=false")
	if r.err != nil || r.helm.applied.Name != "meshlift-hub" {
		t.Errorf("beside an agent: %v, %+v", r.err, r.helm.applied)
	}
}

func TestValuesThatWereSetBeforeStaySet(t *testing.T) {
	before := func() *helm {
		return &helm{before: &release.Release{Chart: "meshlift-agent", Values: map[string]any{"replicas": 3.0, "image": map[string]any{"repository": "old", "tag": "1"}}}}
	}
	objects := []client.Object{namespace("istio-system")}
	r := run(t, before(), objects, "install", "--wait=false", "--set", "image.tag=v2")
	want := map[string]any{"replicas": 3.0, "image": map[string]any{"repository": "old", "tag": "v2"}}
	if diff := cmp.Diff(want, r.helm.applied.Values); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	r = run(t, before(), objects, "install", "--wait=false", "--reset-values")
	if len(r.helm.applied.Values) != 0 {
		t.Errorf("values after --reset-values: %v", r.helm.applied.Values)
	}
}

func TestTheReleaseOfAHubInTheSameNamespaceIsLeftAlone(t *testing.T) {
	beside := func() *helm {
		return &helm{before: &release.Release{Name: Release, Chart: "meshlift", Values: map[string]any{"replicas": 2.0, "roles": map[string]any{}}}}
	}
	r := run(t, beside(), []client.Object{namespace("istio-system")}, "install", "--wait=false")
	if r.err != nil || r.helm.applied.Name != "meshlift-agent" || len(r.helm.applied.Values) != 0 {
		t.Errorf("%v: the agent is applied as %+v", r.err, r.helm.applied)
	}
	if r := run(t, beside(), nil, "uninstall"); r.err != nil || r.helm.gone != "meshlift-agent" {
		t.Errorf("%v: release %q was uninstalled", r.err, r.helm.gone)
	}
}

func TestADryRunChangesNothing(t *testing.T) {
	r := run(t, &helm{}, []client.Object{namespace("istio-system")}, "install", "--dry-run")
	if r.err != nil || !strings.Contains(r.out, "kind: Service") {
		t.Fatalf("error %v, output %q", r.err, r.out)
	}
	if r.helm.applied != nil {
		t.Error("the chart was applied")
	}
	if err := r.client.Get(context.Background(), client.ObjectKey{Name: Namespace}, &corev1.Namespace{}); err == nil {
		t.Error("the namespace was made")
	}
}

func TestInstallIsRefusedWhereThereIsNoIstio(t *testing.T) {
	r := run(t, &helm{}, nil, "install", "--set", "istioNamespace=mesh")
	if exit.Code(r.err) != exit.Refused || !strings.Contains(r.err.Error(), `"mesh"`) {
		t.Errorf("error %v (code %d), want a refusal that names the namespace", r.err, exit.Code(r.err))
	}
	if r.helm.applied != nil {
		t.Error("the chart was applied")
	}
}

func TestTheWaitEndsWhenEveryReplicaOfThePresentTemplateIsAvailable(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*appsv1.Deployment)
		want   bool
	}{
		"all available":           {func(*appsv1.Deployment) {}, true},
		"one not available":       {func(d *appsv1.Deployment) { d.Status.AvailableReplicas = 1 }, false},
		"one of the old template": {func(d *appsv1.Deployment) { d.Status.UpdatedReplicas = 1 }, false},
		"an old pod remains":      {func(d *appsv1.Deployment) { d.Status.Replicas = 3 }, false},
		"not observed yet":        {func(d *appsv1.Deployment) { d.Generation = 2 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := deployment(2)
			c.change(d)
			if got := ready(d); got != c.want {
				t.Errorf("ready = %v, want %v", got, c.want)
			}
		})
	}
}

func TestAnAgentThatDoesNotGetReadyIsReported(t *testing.T) {
	c := fake.NewClientBuilder().WithScheme(env.Scheme()).Build()
	err := agent.waitReady(context.Background(), c, Namespace, time.Millisecond)
	if exit.Code(err) != exit.Unfinished || !strings.Contains(err.Error(), "describe deployment asm-controller") {
		t.Errorf("error %v (code %d)", err, exit.Code(err))
	}
}

func TestUninstallIsRefusedDuringAnUpgrade(t *testing.T) {
	u := &v1alpha1.ClusterUpgrade{ObjectMeta: metav1.ObjectMeta{Name: "to-1-31"}}
	r := run(t, &helm{}, []client.Object{u}, "uninstall")
	if exit.Code(r.err) != exit.Refused || !strings.Contains(r.err.Error(), "to-1-31") || r.helm.uninstalled {
		t.Errorf("error %v (code %d), uninstalled %v", r.err, exit.Code(r.err), r.helm.uninstalled)
	}
	u.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue}}
	if r := run(t, &helm{}, []client.Object{u}, "uninstall"); r.err != nil || !r.helm.uninstalled {
		t.Errorf("after the upgrade: error %v, uninstalled %v", r.err, r.helm.uninstalled)
	}
}

func TestTheKindsGoOnlyAfterTheAgentHasLetTheUpgradesGo(t *testing.T) {
	done := func(finalizers ...string) *v1alpha1.ClusterUpgrade {
		return &v1alpha1.ClusterUpgrade{
			ObjectMeta: metav1.ObjectMeta{Name: "to-1-31", Finalizers: finalizers},
			Status:     v1alpha1.ClusterUpgradeStatus{Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue}}},
		}
	}
	r := run(t, &helm{}, []client.Object{done("meshlift.dev/upgrade")}, "uninstall", "--crds", "--timeout", "10ms")
	if exit.Code(r.err) != exit.Unfinished || !strings.Contains(r.err.Error(), "to-1-31") || r.helm.uninstalled {
		t.Errorf("held by a finalizer: error %v (code %d), uninstalled %v", r.err, exit.Code(r.err), r.helm.uninstalled)
	}
	if r := run(t, &helm{}, []client.Object{done()}, "uninstall", "--crds"); r.err != nil || !r.helm.uninstalled {
		t.Errorf("let go: error %v, uninstalled %v", r.err, r.helm.uninstalled)
	}
}

func TestWrongFlagsAreErrorsOfUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--image", "no-tag"},
		{"--image", "example.com:5000/m"},
		{"--image", "m@sha256:0123"},
		{"--image", "m:"},
		{"--set", "a"},
		{"--set", "=1"},
		{"--set", "a..b=1"},
		{"--set", "a={"},
	} {
		if r := run(t, &helm{}, nil, append([]string{"install"}, args...)...); exit.Code(r.err) != exit.Usage {
			t.Errorf("%q: error %v (code %d), want usage", args, r.err, exit.Code(r.err))
		}
	}
}
