package rollout

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"meshlift.dev/meshlift/internal/mesh"
)

// Eviction is one pod to evict. The UID makes sure that it is this pod and not a later one of the same name, so an
// eviction that is asked for twice evicts once.
type Eviction struct{ Pod, UID string }

// Evictions returns the pods of a workload in motion that have to be evicted next; none while a pod is on its way, while
// admission does not route to the target, and for workloads whose controller replaces pods by itself.
//
// One pod at a time is what their controllers do by default. A StatefulSet goes from the highest ordinal down and waits
// for every pod, as its rolling update does; elsewhere a pod that is not ready serves nobody and goes first.
func Evictions(inv *mesh.Inventory, w mesh.Workload, target string) []Eviction {
	if !MethodOf(w).evicts() || nextRevision(inv, w) != target || w.Progress.ObservedGeneration < w.Progress.Generation {
		return nil
	}
	// A claim comes after other attempts: a pod that one of them made, and that is as it should be, stays.
	claimed := MethodOf(w) == ByClaim
	var old []mesh.Pod
	live, unready, broken := int32(0), 0, 0
	for _, p := range w.Pods {
		if p.Terminating {
			continue
		}
		live++
		outdated := p.Revision != target || p.Attempt != w.NextAttempt() && (!claimed || !p.Ready)
		if outdated {
			old = append(old, p)
		}
		switch {
		case !p.Ready && outdated && w.Kind != mesh.KindStatefulSet:
			broken++
		case !p.Ready:
			unready++
		}
	}
	if len(old) == 0 || unready > 0 || live < w.Desired || broken == 0 && w.Progress.Available < w.Desired {
		return nil
	}
	next := slices.MinFunc(old, func(a, b mesh.Pod) int {
		return cmp.Or(cmp.Compare(place(w, a), place(w, b)), cmp.Compare(a.Name, b.Name))
	})
	return []Eviction{{Pod: next.Name, UID: next.UID}}
}

// place orders the pods of a workload for eviction; the lowest goes first.
func place(w mesh.Workload, p mesh.Pod) int {
	switch {
	case w.Kind == mesh.KindStatefulSet:
		n, _ := strconv.Atoi(p.Name[strings.LastIndexByte(p.Name, '-')+1:]) // a pod without an ordinal goes last
		return -n
	case !p.Ready:
		return 0
	}
	return 1
}

// evict adds the next evictions of a workload on its way to the revision.
func (d *decider) evict(w mesh.Workload, target string) {
	if e := Evictions(d.Inventory, w, target); len(e) > 0 {
		d.out.Actions = append(d.out.Actions, Action{Ref: w.Ref, Method: MethodOf(w), Target: target, Evict: e, Label: target == d.To})
	}
}
