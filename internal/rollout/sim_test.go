package rollout

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// simCluster is a cluster as far as rollouts see it: two revisions, a handover in place, workloads whose controllers
// replace pods when told to.
type simCluster struct {
	inv *mesh.Inventory
	// restarts counts changed pod templates, by workload.
	restarts map[mesh.Ref]int
	// stuck workloads never become ready on the new revision.
	stuck map[mesh.Ref]bool
	now   time.Time
}

const (
	oldRev = "1-30"
	newRev = "1-31"
)

func newSim(workloads int, gateways int) *simCluster {
	c := &simCluster{restarts: map[mesh.Ref]int{}, stuck: map[mesh.Ref]bool{}, now: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)}
	sel := func(rev string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{mesh.LabelRev: rev}}
	}
	c.inv = &mesh.Inventory{
		IstioNamespace: "istio-system", KubernetesVersion: "v1.36.1",
		Revisions: []mesh.Revision{{Name: oldRev, Version: "1.30.0", Replicas: 1, ReadyReplicas: 1}, {Name: newRev, Version: "1.31.0", Replicas: 1, ReadyReplicas: 1}},
		Configurations: []mesh.Configuration{
			{Name: "istio-sidecar-injector-1-30", Webhooks: []mesh.Injector{
				{Name: "rev.namespace", Revision: oldRev, NamespaceSelector: sel(oldRev), Excluded: newRev},
				{Name: "rev.namespace.handover.meshlift.dev", Revision: newRev, NamespaceSelector: sel(oldRev), ObjectSelector: &metav1.LabelSelector{MatchLabels: map[string]string{v1alpha1.RevisionLabel: newRev}}, Handover: true},
			}},
			{Name: "istio-sidecar-injector-1-31", Webhooks: []mesh.Injector{{Name: "rev.namespace", Revision: newRev, NamespaceSelector: sel(newRev)}}},
		},
		Namespaces: map[string]mesh.Namespace{"a": {Labels: map[string]string{mesh.LabelRev: oldRev}}},
	}
	for n := range workloads + gateways {
		w := mesh.Workload{
			Ref: mesh.Ref{Kind: mesh.KindDeployment, Namespace: "a", Name: fmt.Sprintf("w%03d", n)}, Role: mesh.Sidecar, Desired: 2,
			TemplateLabels: map[string]string{}, Annotations: map[string]string{},
			Strategy: mesh.Strategy{Type: "RollingUpdate", MaxSurge: 1, RawMaxSurge: "25%", RawMaxUnavailable: "25%"},
		}
		if n >= workloads {
			w.Name, w.Role, w.Desired = fmt.Sprintf("gw%03d", n), mesh.IngressGateway, 1
		}
		c.inv.Workloads = append(c.inv.Workloads, w)
		c.roll(len(c.inv.Workloads)-1, oldRev)
	}
	sortWorkloads(c.inv)
	return c
}

// sortWorkloads keeps the order that an inventory promises.
func sortWorkloads(inv *mesh.Inventory) {
	for i := range inv.Workloads {
		for j := i; j > 0 && inv.Workloads[j].Compare(inv.Workloads[j-1].Ref) < 0; j-- {
			inv.Workloads[j], inv.Workloads[j-1] = inv.Workloads[j-1], inv.Workloads[j]
		}
	}
}

// roll finishes the rollout of workload n on the revision.
func (c *simCluster) roll(n int, rev string) {
	w := &c.inv.Workloads[n]
	w.Pods = nil
	for range w.Desired {
		w.Pods = append(w.Pods, mesh.Pod{Name: fmt.Sprintf("%s-%d", w.Name, len(w.Pods)), Revision: rev, Ready: true})
	}
	w.Progress = mesh.Progress{
		Generation: w.Progress.Generation, ObservedGeneration: w.Progress.Generation,
		Replicas: w.Desired, Updated: w.Desired, Ready: w.Desired, Available: w.Desired,
	}
}

// find returns the index of the workload.
func (c *simCluster) find(ref mesh.Ref) int {
	for n, w := range c.inv.Workloads {
		if w.Ref == ref {
			return n
		}
	}
	return -1
}

// do carries out an action the way package restart does.
func (c *simCluster) do(a Action) {
	w := &c.inv.Workloads[c.find(a.Ref)]
	if a.Restore {
		delete(w.Annotations, v1alpha1.StrategyAnnotation)
		w.Strategy.MaxSurge = 0
		return
	}
	if a.Surge {
		w.Annotations[v1alpha1.StrategyAnnotation] = "{}"
		w.Strategy.MaxSurge = 1
	}
	before := fmt.Sprint(w.TemplateLabels, w.TemplateAnnotations)
	w.TemplateLabels, w.TemplateAnnotations = map[string]string{}, map[string]string{}
	if a.Label {
		w.TemplateLabels[v1alpha1.RevisionLabel] = a.Target
		if a.Record.Attempt > 1 {
			w.TemplateAnnotations[v1alpha1.AttemptAnnotation] = fmt.Sprint(a.Record.Attempt)
		}
	}
	record := a.Record
	w.Move = &record
	if before == fmt.Sprint(w.TemplateLabels, w.TemplateAnnotations) {
		return
	}
	c.restarts[a.Ref]++
	w.Progress.Generation++
	w.Progress.Updated, w.Progress.Available = 0, w.Desired
}

// inMotion returns the workloads whose controller has something to replace.
func (c *simCluster) inMotion() []int {
	var out []int
	for n, w := range c.inv.Workloads {
		if w.Progress.ObservedGeneration != w.Progress.Generation {
			out = append(out, n)
		}
	}
	return out
}

// settle lets the controller of workload n finish, unless it is stuck.
func (c *simCluster) settle(n int) {
	w := &c.inv.Workloads[n]
	rev := oldRev
	if w.TemplateLabels[v1alpha1.RevisionLabel] == newRev {
		rev = newRev
	}
	if rev == newRev && c.stuck[w.Ref] {
		w.Progress.ObservedGeneration = w.Progress.Generation
		w.Progress.Updated, w.Progress.Replicas, w.Progress.DeadlineExceeded = 1, w.Desired+1, true
		return
	}
	c.roll(n, rev)
}

func (c *simCluster) decide(spec v1alpha1.DataPlaneRolloutSpec, failures []v1alpha1.WorkloadFailure) Outcome {
	return Decide(Input{Name: "r-" + string(spec.Direction), Spec: spec, Failures: failures, From: oldRev, To: newRev, Inventory: c.inv, Now: c.now})
}
