package rollout

import (
	"maps"
	"slices"
	"sort"
	"strconv"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// Expect returns the inventory as it will be when the actions, which are on their way, are seen in it. A decision about
// it counts them as moving and does not take them again. The inventory that is given stays as it is.
func Expect(inv *mesh.Inventory, underWay []Action) *mesh.Inventory {
	if len(underWay) == 0 {
		return inv
	}
	out := *inv
	out.Workloads = slices.Clone(inv.Workloads)
	for _, a := range underWay {
		if len(a.Evict) > 0 {
			expectEvicted(&out, a)
			continue
		}
		n := sort.Search(len(out.Workloads), func(n int) bool { return out.Workloads[n].Compare(a.Ref) >= 0 })
		if n < len(out.Workloads) && out.Workloads[n].Ref == a.Ref && !Seen(inv, a) {
			expect(&out.Workloads[n], a)
		}
	}
	return &out
}

// expect changes one workload as package restart does.
func expect(w *mesh.Workload, a Action) {
	w.Annotations = with(w.Annotations, v1alpha1.StrategyAnnotation, "")
	if a.Restore {
		return
	}
	if a.Lower {
		w.Strategy.Partition = 0
	}
	if a.Surge || a.Lower {
		w.Annotations[v1alpha1.StrategyAnnotation] = "{}"
	}
	record := a.Record
	w.Move = &record
	w.Progress.Generation++ // so nothing that its controller has reported is about the new template
	if a.Method == ByClaim {
		w.Claim = &mesh.Claim{Why: a.Why}
		if a.Label {
			w.Claim.Revision = a.Target
		}
		return
	}
	if w.Kind == mesh.KindGateway {
		w.TemplateLabels = with(w.TemplateLabels, mesh.LabelRev, a.Target)
		return
	}
	label, attempt := "", ""
	if a.Label {
		label = a.Target
		if a.Record.Attempt > 1 {
			attempt = strconv.Itoa(int(a.Record.Attempt))
		}
	}
	w.TemplateLabels = with(w.TemplateLabels, v1alpha1.RevisionLabel, label)
	w.TemplateAnnotations = with(w.TemplateAnnotations, v1alpha1.AttemptAnnotation, attempt)
	if a.Pin != "" {
		w.TemplateLabels[mesh.LabelRev] = a.Pin
	}
}

// expectEvicted has the pods of an eviction end.
func expectEvicted(inv *mesh.Inventory, a Action) {
	evicted := func(namespace string, p mesh.Pod) bool {
		return namespace == a.Ref.Namespace && slices.Contains(a.Evict, Eviction{Pod: p.Name, UID: p.UID})
	}
	if bare(a.Ref) {
		inv.LoosePods = slices.Clone(inv.LoosePods)
		for n := range inv.LoosePods {
			p := &inv.LoosePods[n]
			p.Terminating = p.Terminating || evicted(p.Namespace, p.Pod)
		}
		return
	}
	for n := range inv.Workloads {
		if w := &inv.Workloads[n]; w.Ref == a.Ref {
			w.Pods = slices.Clone(w.Pods)
			for m := range w.Pods {
				w.Pods[m].Terminating = w.Pods[m].Terminating || evicted(w.Namespace, w.Pods[m])
			}
		}
	}
}

// lives tells whether a pod that is evicted is there and does not end yet.
func lives(inv *mesh.Inventory, ref mesh.Ref, e Eviction) bool {
	same := func(p mesh.Pod) bool { return p.Name == e.Pod && p.UID == e.UID && !p.Terminating }
	if bare(ref) {
		return slices.ContainsFunc(inv.LoosePods, func(p mesh.LoosePod) bool { return p.Namespace == ref.Namespace && same(p.Pod) })
	}
	w, _ := inv.Workload(ref)
	return slices.ContainsFunc(w.Pods, same)
}

// with returns a copy with the key set, or without it when the value is "".
func with(all map[string]string, key, value string) map[string]string {
	out := maps.Clone(all)
	if out == nil {
		out = map[string]string{}
	}
	if value == "" {
		delete(out, key)
	} else {
		out[key] = value
	}
	return out
}

// Seen tells whether the inventory shows that the action was done. A workload that is gone shows everything.
func Seen(inv *mesh.Inventory, a Action) bool {
	w, ok := inv.Workload(a.Ref)
	switch {
	case len(a.Evict) > 0:
		return !slices.ContainsFunc(a.Evict, func(e Eviction) bool { return lives(inv, a.Ref, e) })
	case !ok:
		return true
	case a.Restore:
		return w.Annotations[v1alpha1.StrategyAnnotation] == ""
	}
	return w.Move != nil && w.Move.To == a.Target && w.Move.Rollout == a.Record.Rollout && w.Move.Attempt >= a.Record.Attempt
}
