package preflight

import (
	"fmt"
	"strings"

	"meshlift.dev/meshlift/internal/mesh"
)

// moving are the workloads with pods that an upgrade replaces.
func (f *Facts) moving() []mesh.Workload {
	var out []mesh.Workload
	for _, w := range f.Inventory.Workloads {
		if f.From.Name != "" && w.Uses(f.From.Name) {
			out = append(out, w)
		}
	}
	return out
}

// templates are the pod templates of workloads that move.
func (f *Facts) templates() map[mesh.Ref]Template {
	all := map[mesh.Ref]Template{}
	for _, t := range f.Templates {
		all[t.Ref] = t
	}
	out := map[mesh.Ref]Template{}
	for _, w := range f.moving() {
		if t, ok := all[w.Ref]; ok {
			out[w.Ref] = t
		}
	}
	return out
}

func workloadHealth(f *Facts) []Finding {
	var out []Finding
	for _, w := range f.moving() {
		p := w.Progress
		switch {
		case p.Paused:
			out = append(out, about(Warning, objectOf(w.Ref), "It is paused, so a move would wait for ever.", "Resume it, or exclude it from the upgrade."))
		case p.Failure != "":
			out = append(out, about(Warning, objectOf(w.Ref), "Its pods cannot be created: "+strings.TrimSuffix(p.Failure, ".")+".", "Mend this first: the move needs a new pod."))
		case p.DeadlineExceeded:
			out = append(out, about(Warning, objectOf(w.Ref), "Its last rollout did not finish in time.", "Finish it or take it back first."))
		case w.Desired > 0 && p.Ready < w.Desired && w.Kind != mesh.KindCronJob && w.Kind != mesh.KindGateway:
			out = append(out, about(Warning, objectOf(w.Ref), fmt.Sprintf("%d of %d pods are ready.", p.Ready, w.Desired), "Find out why before it moves; what is broken before the move looks broken by it."))
		}
	}
	return out
}

// singleReplica finds data planes that are gone for a moment while they move: one pod that ends before the next one starts.
func singleReplica(f *Facts) []Finding {
	var out []Finding
	for _, w := range f.moving() {
		if w.Desired != 1 {
			continue
		}
		why := ""
		switch {
		case w.Strategy.Type == "Recreate":
			why = "its strategy is Recreate"
		case w.Kind == mesh.KindStatefulSet:
			why = "a StatefulSet ends a pod before it makes the next"
		case w.Kind == mesh.KindDeployment && w.Strategy.MaxSurge == 0:
			why = "it does not surge"
		case w.Kind == mesh.KindPod || w.Kind == mesh.KindReplicaSet:
			why = "its pod is deleted before the next is made"
		case w.HostPorts:
			why = "it binds a port of the node"
		}
		if why != "" {
			out = append(out, about(Warning, objectOf(w.Ref), "It has one pod and "+why+": it will be unreachable while it moves.", "Give it a second replica, or let it surge (maxSurge 1) where it can."))
		}
	}
	return out
}

func maxUnavailable(f *Facts) []Finding {
	var out []Finding
	for _, w := range f.moving() {
		if w.Desired > 1 && (w.Strategy.Type == "Recreate" || w.Strategy.MaxUnavailable >= w.Desired) {
			how := "strategy Recreate"
			if w.Strategy.Type != "Recreate" {
				how = "maxUnavailable " + w.Strategy.RawMaxUnavailable
			}
			out = append(out, about(Warning, objectOf(w.Ref), fmt.Sprintf("All its %d pods end at once when it moves (%s).", w.Desired, how), "Set maxUnavailable to less than all, and let it roll."))
		}
	}
	return out
}

func readinessProbes(f *Facts) []Finding {
	var out []Finding
	templates := f.templates()
	for _, w := range f.moving() {
		if t, ok := templates[w.Ref]; ok && !t.Readiness && !w.Role.IsGateway() && w.Kind != mesh.KindCronJob {
			out = append(out, about(Warning, objectOf(w.Ref), "A container of it has no readiness probe: a new pod counts as ready as soon as it runs, and the rolling update goes on although the application does not answer yet.", "Give it a readiness probe."))
		}
	}
	return out
}

func gracefulEnd(f *Facts) []Finding {
	var out []Finding
	for ref, t := range f.templates() {
		switch {
		case t.PreStop > 0 && t.PreStop >= t.Grace:
			out = append(out, about(Warning, objectOf(ref), fmt.Sprintf("Its preStop hook sleeps %d s and the pod is killed after %d s (terminationGracePeriodSeconds): nothing is left to finish requests.", t.PreStop, t.Grace),
				"Raise terminationGracePeriodSeconds above the hook and the longest request."))
		case t.Grace <= t.Drain:
			out = append(out, about(Warning, objectOf(ref), fmt.Sprintf("It is killed after %d s (terminationGracePeriodSeconds), and its proxy drains for %d s: requests in flight are cut.", t.Grace, t.Drain),
				"Raise terminationGracePeriodSeconds above terminationDrainDuration of the proxy."))
		}
	}
	return out
}

func disruptionBudgets(f *Facts) []Finding {
	var out []Finding
	templates := f.templates()
	for _, b := range f.Budgets {
		if b.Allowed > 0 || b.Expected == 0 {
			continue
		}
		for _, ref := range f.sortedRefs(templates) {
			if ref.Namespace != b.Namespace || !selects(b.Selector, templates[ref].Labels) {
				continue
			}
			out = append(out, about(Warning, Object{Kind: "PodDisruptionBudget", Namespace: b.Namespace, Name: b.Name},
				fmt.Sprintf("It lets none of the %d pods of %s go (%d are healthy). A rolling update does not ask it; moves by eviction and drained nodes wait for it without end.", b.Expected, ref, b.Healthy),
				"Have it allow one pod less than there are, or add a replica."))
			break
		}
	}
	return out
}

func (f *Facts) sortedRefs(templates map[mesh.Ref]Template) []mesh.Ref {
	var out []mesh.Ref
	for _, w := range f.Inventory.Workloads { // they are sorted
		if _, ok := templates[w.Ref]; ok {
			out = append(out, w.Ref)
		}
	}
	return out
}

// workloadQuota finds namespaces whose quota refuses the pod more that a rolling update makes.
func workloadQuota(f *Facts) []Finding {
	var out []Finding
	templates := f.templates()
	for _, w := range f.moving() {
		t, ok := templates[w.Ref]
		if !ok || w.Strategy.MaxSurge == 0 {
			continue
		}
		for _, q := range f.Quotas {
			if lacks := q.lacks(1, t.CPU, t.Memory); q.Namespace == w.Namespace && len(lacks) > 0 {
				out = append(out, about(Warning, objectOf(w.Ref), fmt.Sprintf("ResourceQuota %s leaves too little %s for the pod more that its rolling update makes first.", q.Name, strings.Join(lacks, ", ")),
					"Raise the quota for the time of the upgrade, or let the workload take a pod away first (maxUnavailable 1, maxSurge 0)."))
			}
		}
	}
	return out
}
