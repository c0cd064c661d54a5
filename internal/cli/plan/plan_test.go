package plan_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/clitest"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/cli/plan"
	"meshlift.dev/meshlift/internal/preflight"
	"meshlift.dev/meshlift/internal/view"
)

func catalog() *v1alpha1.Catalog {
	return &v1alpha1.Catalog{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: v1alpha1.CatalogSpec{
		Releases: []v1alpha1.Release{{Version: "1.31", Patch: "1.31.0", Kubernetes: []string{"1.37"}}},
		Paths:    []v1alpha1.Path{{From: "1.30", To: "1.31", Kubernetes: []string{"1.37"}}},
	}}
}

func TestThePlanSaysWhatWouldHappenAndWhetherItMay(t *testing.T) {
	old := clitest.Mesh(false)
	old.KubernetesVersion = "v1.27.3"
	for _, c := range []struct {
		name    string
		objects []client.Object
		args    []string
		code    int
		says    []string
	}{
		{"the newest supported version", []client.Object{catalog()}, nil, exit.OK, []string{
			"Path Istio 1.30.0 (revision 1-30) → 1.31.0 (revision 1-31)", "✓ supported on Kubernetes 1.37.2", "2 workloads with sidecars and 1 gateway (5 pods)",
			"bookinfo/add-header  owner team-reviews", "it will be unreachable", "meshlift upgrade start --to 1.31",
		}},
		{"another name for the revision", []client.Object{catalog()}, []string{"--to", "1.31", "--revision", "canary", "--from", "1-30"}, exit.OK, []string{
			"(revision canary)", "meshlift upgrade start --to 1.31 --revision canary --from-revision 1-30",
		}},
		{"one namespace", []client.Object{catalog()}, []string{"-n", "bookinfo"}, exit.OK, []string{"2 workloads with sidecars and 0 gateways (4 pods)"}},
		{"a path that is not supported", []client.Object{catalog()}, []string{"--to", "1.29"}, exit.Refused, []string{"✗ Istio 1.29 is older than the running 1.30"}},
		{"nowhere to go", nil, nil, exit.Refused, []string{"No upgrade from Istio 1.30.0 is supported on Kubernetes v1.37.2"}},
		{"the upgrade that runs", []client.Object{clitest.Upgrade(3)}, nil, exit.OK, []string{"this upgrade runs; see how far it is", "meshlift status"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := clitest.New(c.objects...)
			w.Mesh = clitest.Mesh(len(c.objects) > 0 && c.objects[0].GetName() != "default")
			code := w.Run(t, plan.NewCommand(w.Env), c.args...)
			text := w.Output.String() + w.Errors.String()
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, s := range c.says {
				if !strings.Contains(text, s) {
					t.Errorf("missing %q in:\n%s", s, text)
				}
			}
			var all v1alpha1.ClusterUpgradeList
			if err := w.Client.List(context.Background(), &all); err != nil || len(all.Items) > 1 {
				t.Errorf("a plan changed the cluster: %d upgrades, %v", len(all.Items), err)
			}
		})
	}
}

func TestAPlanNeedsNoAgent(t *testing.T) {
	w := clitest.New()
	w.Mesh = clitest.Mesh(false)
	w.Mesh.KubernetesVersion = "v1.35.1"
	w.Read = func(client.Client, client.Object, int) error {
		return &meta.NoKindMatchError{GroupKind: schema.GroupKind{Group: "meshlift.dev", Kind: "ControlPlane"}}
	}
	if code := w.Run(t, plan.NewCommand(w.Env), "--to", "1.31", "-o", "json"); code != exit.OK {
		t.Fatalf("exit code %d\n%s%s", code, w.Output, w.Errors)
	}
	var p view.Plan
	if err := json.Unmarshal(w.Output.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	if !p.Supported || p.From != "1-30" || p.To != "1-31" || len(p.Groups) != 2 {
		t.Errorf("%+v", p)
	}
}

func TestThePlanSumsUpTheChecksAndJudgesEnvoyFilters(t *testing.T) {
	w := clitest.New(catalog())
	w.Mesh = clitest.Mesh(false)
	w.Surveyed = func(f *preflight.Facts) {
		f.Rehearsal = "quota exceeded"
		f.Config = []preflight.Resource{{
			Object: preflight.Object{Kind: "EnvoyFilter", Namespace: "bookinfo", Name: "add-header"}, Group: "networking.istio.io",
			Content: map[string]any{"spec": map[string]any{"configPatches": []any{map[string]any{"match": map[string]any{"proxy": map[string]any{"proxyVersion": "^1.30"}}}}}},
		}}
	}
	if code := w.Run(t, plan.NewCommand(w.Env), "--to", "1.31"); code != exit.Refused {
		t.Errorf("exit code %d", code)
	}
	for _, s := range []string{"✗ 38 checks: 1 error", "meshlift check --to 1.31 --severity error", "bookinfo/add-header  owner team-reviews  changes: patch 1: it stops"} {
		if !strings.Contains(w.Output.String(), s) {
			t.Errorf("missing %q in:\n%s%s", s, w.Output, w.Errors)
		}
	}
}
