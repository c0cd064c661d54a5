package rollout

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// large is a cluster in the middle of a rollout: namespaces of 50 workloads with 2 pods, by default selectors as Istio's
// charts write them; one workload of three has moved.
func large(workloads int) *mesh.Inventory {
	in := func(key string, values ...string) metav1.LabelSelectorRequirement {
		return metav1.LabelSelectorRequirement{Key: key, Operator: metav1.LabelSelectorOpIn, Values: values}
	}
	not := func(key string) metav1.LabelSelectorRequirement {
		return metav1.LabelSelectorRequirement{Key: key, Operator: metav1.LabelSelectorOpDoesNotExist}
	}
	selector := func(all ...metav1.LabelSelectorRequirement) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchExpressions: all}
	}
	inject := metav1.LabelSelectorRequirement{Key: mesh.LabelInject, Operator: metav1.LabelSelectorOpNotIn, Values: []string{"false"}}
	injector := func(rev string) []mesh.Injector {
		return []mesh.Injector{
			{Name: "rev.namespace.sidecar-injector.istio.io", Revision: rev, NamespaceSelector: selector(in(mesh.LabelRev, rev), not(mesh.LabelInjection)), ObjectSelector: selector(inject)},
			{Name: "rev.object.sidecar-injector.istio.io", Revision: rev, NamespaceSelector: selector(not(mesh.LabelRev), not(mesh.LabelInjection)), ObjectSelector: selector(inject, in(mesh.LabelRev, rev))},
		}
	}
	old := injector(oldRev)
	for n := range 2 {
		twin := old[n]
		old[n].Excluded = newRev
		twin.Name, twin.Revision, twin.Handover = twin.Name+".handover.meshlift.dev", newRev, true
		twin.ObjectSelector = selector(append(twin.ObjectSelector.MatchExpressions[:len(twin.ObjectSelector.MatchExpressions):len(twin.ObjectSelector.MatchExpressions)], in(v1alpha1.RevisionLabel, newRev))...)
		old = append(old, twin)
	}
	inv := &mesh.Inventory{
		IstioNamespace: "istio-system",
		Revisions:      []mesh.Revision{{Name: oldRev, Version: "1.30.0"}, {Name: newRev, Version: "1.31.0"}},
		Configurations: []mesh.Configuration{{Name: "istio-sidecar-injector-1-30", Webhooks: old}, {Name: "istio-sidecar-injector-1-31", Webhooks: injector(newRev)}},
		Namespaces:     map[string]mesh.Namespace{},
	}
	for n := range workloads {
		ns := fmt.Sprintf("ns-%04d", n/50)
		inv.Namespaces[ns] = mesh.Namespace{Labels: map[string]string{mesh.LabelRev: oldRev, "kubernetes.io/metadata.name": ns}}
		w := mesh.Workload{
			Ref: mesh.Ref{Kind: mesh.KindDeployment, Namespace: ns, Name: fmt.Sprintf("app-%02d", n%50)}, Role: mesh.Sidecar, Desired: 2,
			TemplateLabels: map[string]string{"app": "app", "version": "v1"},
			Strategy:       mesh.Strategy{Type: "RollingUpdate", MaxSurge: 1},
			Progress:       mesh.Progress{Replicas: 2, Updated: 2, Ready: 2, Available: 2},
		}
		rev := oldRev
		if n%3 == 0 {
			rev = newRev
			w.TemplateLabels[v1alpha1.RevisionLabel] = newRev
			w.Move = &mesh.Move{To: newRev, From: oldRev, Attempt: 1, Rollout: "r"}
		}
		for p := range 2 {
			w.Pods = append(w.Pods, mesh.Pod{Name: fmt.Sprintf("%s-%d", w.Name, p), Revision: rev, Ready: true})
		}
		inv.Workloads = append(inv.Workloads, w)
	}
	return inv
}

// BenchmarkDecide plans and decides with 100,000 pods in 50,000 workloads; it should take less than 200 ms.
func BenchmarkDecide(b *testing.B) {
	inv := large(50_000)
	in := Input{
		Name: "r", Spec: v1alpha1.DataPlaneRolloutSpec{Parallelism: new(int32(50)), Timeout: metav1.Duration{Duration: time.Minute}},
		From: oldRev, To: newRev, Inventory: inv, Now: time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC),
	}
	if out := Decide(in); len(out.Actions) != 50 || out.Counts.Done != 16_667 {
		b.Fatalf("%d actions, %+v", len(out.Actions), out.Counts)
	}
	b.ReportAllocs()
	for b.Loop() {
		Decide(in)
	}
}
