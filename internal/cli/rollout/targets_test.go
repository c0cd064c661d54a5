package rollout

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/rollout"
	"meshlift.dev/meshlift/internal/view"
)

func TestTargetsAreReadAsPeopleWriteThem(t *testing.T) {
	for in, want := range map[string]target{
		"bookinfo":                         {namespace: "bookinfo"},
		"bookinfo/":                        {namespace: "bookinfo"},
		"bookinfo/reviews-v1":              {namespace: "bookinfo", name: "reviews-v1"},
		"bookinfo/deploy/reviews-v1":       {namespace: "bookinfo", kind: "Deployment", name: "reviews-v1"},
		"bookinfo/StatefulSets/cart":       {namespace: "bookinfo", kind: "StatefulSet", name: "cart"},
		"istio-ingress/Gateway/web":        {namespace: "istio-ingress", kind: "Gateway", name: "web"},
		"kube-system/ds/node-local-thing1": {namespace: "kube-system", kind: "DaemonSet", name: "node-local-thing1"},
	} {
		got, err := parseTargets([]string{in}, nil)
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%q: got %v (%v), want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "/", "a//b", "/a", "a/b/c/d", "a/job/b"} {
		if got, err := parseTargets([]string{in}, nil); err == nil {
			t.Errorf("%q is taken for %v", in, got)
		}
	}
}

func TestANameThatTwoKindsHaveNeedsItsKind(t *testing.T) {
	groups := []view.Group{{Namespace: "a", DataPlanes: []view.DataPlane{
		{Namespace: "a", Kind: "Deployment", Name: "x", State: "Pending"}, {Namespace: "a", Kind: "StatefulSet", Name: "x", State: "Pending"},
	}}}
	exists := func(string) bool { return true }
	if _, err := pick(groups, []target{{namespace: "a", name: "x"}}, exists); err == nil {
		t.Error("an ambiguous name is accepted")
	}
	got, err := pick(groups, []target{{namespace: "a", kind: "StatefulSet", name: "x"}}, exists)
	if err != nil || len(got) != 1 || len(got[0].DataPlanes) != 1 || got[0].DataPlanes[0].Kind != "StatefulSet" {
		t.Errorf("%v (%v)", got, err)
	}
}

// What is chosen on the screen is exactly what the rollout will move.
func TestTheTargetsOfTheRolloutSelectExactlyWhatWasChosen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var items []rollout.Item
		states := []rollout.State{rollout.Pending, rollout.Moving, rollout.Moved, rollout.Failed, rollout.Excluded, rollout.Unsupported}
		for n := range rapid.IntRange(1, 12).Draw(t, "workloads") {
			items = append(items, rollout.Item{
				Ref:   mesh.Ref{Kind: "Deployment", Namespace: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "namespace"), Name: string(rune('a' + n))},
				Role:  mesh.Sidecar,
				State: rapid.SampledFrom(states).Draw(t, "state"),
			})
		}
		groups := view.Groups(items)
		chosen := map[string]bool{}
		for name := range everything(groups) {
			chosen[name] = rapid.Bool().Draw(t, "choose "+name)
		}
		targets := spec(groups, chosen, nil)
		for _, g := range groups {
			for _, d := range g.DataPlanes {
				if !d.Movable() {
					continue
				}
				ref := mesh.Ref{Kind: d.Kind, Namespace: d.Namespace, Name: d.Name}
				selected := rollout.Selected(targets, ref)
				none := len(targets) == 0 && !chosen[d.String()]
				if selected != chosen[d.String()] && !none {
					t.Fatalf("%s: chosen %t, selected %t by %v", d, chosen[d.String()], selected, targets)
				}
				if none && anyChosen(chosen) {
					t.Fatalf("nothing is named although %s was left out", d)
				}
			}
		}
	})
}

func anyChosen(chosen map[string]bool) bool {
	for _, c := range chosen {
		if c {
			return true
		}
	}
	return false
}

func TestAWorkloadThatTheUserNamedStaysAlone(t *testing.T) {
	groups := []view.Group{{Namespace: "a", DataPlanes: []view.DataPlane{{Namespace: "a", Kind: "Deployment", Name: "x", State: "Pending"}}}}
	got := spec(groups, everything(groups), []target{{namespace: "a", name: "x"}})
	want := []v1alpha1.RolloutTarget{{Namespace: "a", Kind: "Deployment", Name: "x"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got = spec(groups, everything(groups), []target{{namespace: "a"}})
	if diff := cmp.Diff([]v1alpha1.RolloutTarget{{Namespace: "a"}}, got); diff != "" {
		t.Error(diff)
	}
}
