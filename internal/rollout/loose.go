package rollout

import (
	"fmt"
	"strings"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// named tells whether the targets of a rollout name this one workload by kind and name.
func named(targets []v1alpha1.RolloutTarget, ref mesh.Ref) bool {
	for _, t := range targets {
		if t.Namespace == ref.Namespace && t.Kind == ref.Kind && t.Name == ref.Name {
			return true
		}
	}
	return false
}

// onRequest takes what waits to be named out of the rollouts that do not name it. Once asked for, it goes on like others.
func onRequest(i Item) Item {
	if i.OnRequest && (i.State == Pending || i.State == Failed) {
		i.State, i.Reason = Unsupported, ""
		i.Message = fmt.Sprintf("%s has no Deployment above it, so Meshlift touches it only when it is named: \"meshlift rollout %s/%s/%s\" labels its pod template and evicts its pods one by one",
			i.Ref, i.Ref.Namespace, i.Ref.Kind, i.Ref.Name)
	}
	return i
}

// looseItems groups pods outside the driven workloads by their owner.
func looseItems(inv *mesh.Inventory, from, to string) []Item {
	byRef := map[mesh.Ref]*Item{}
	for _, p := range inv.LoosePods {
		if p.Revision != from && p.Revision != to || p.Terminating {
			continue
		}
		ref := looseRef(p)
		i := byRef[ref]
		if i == nil {
			i = &Item{Ref: ref, Role: p.Role, Target: to, State: Moved, Message: "on " + to}
			byRef[ref] = i
		}
		i.Pods++
		if p.Revision == to {
			i.MovedPods++
			continue
		}
		i.State, i.Remaining, i.Message = Unsupported, true, looseMessage(ref)
		if bare(ref) {
			i.Method, i.OnRequest = ByEviction, true
		}
	}
	out := make([]Item, 0, len(byRef))
	for _, i := range byRef {
		out = append(out, *i)
	}
	return out
}

// looseRef is the owner of the pod, or the pod itself when it has none.
func looseRef(p mesh.LoosePod) mesh.Ref {
	if kind, name, ok := strings.Cut(p.Owner, "/"); ok {
		return mesh.Ref{Kind: kind, Namespace: p.Namespace, Name: name}
	}
	return mesh.Ref{Kind: mesh.KindPod, Namespace: p.Namespace, Name: p.Name}
}

// bare tells whether the item is a pod that nothing owns.
func bare(ref mesh.Ref) bool { return ref.Kind == mesh.KindPod }

// judgeNamed judges an item; one that is touched only on request is judged as others are when the rollout names it.
func (d *decider) judgeNamed(w mesh.Workload, item *Item) *Action {
	if !item.OnRequest || !named(d.Spec.Targets, item.Ref) {
		return d.judge(w, *item)
	}
	if item.Method == ByEviction {
		return d.bare(*item)
	}
	*item = itemOf(d.Inventory, w, d.target)
	return d.judge(w, *item)
}

// bare evicts a bare pod that somebody has named. Nothing can be kept on it, and nothing needs to be: it is there or not.
func (d *decider) bare(item Item) *Action {
	d.out.Counts.Total++
	if decision := d.decisions[Reference(item.Ref)]; decision != nil && decision.Action == v1alpha1.Skip {
		d.out.Counts.Skipped++
		return nil
	}
	for _, p := range d.Inventory.LoosePods {
		if looseRef(p) == item.Ref && !p.Terminating {
			d.out.Counts.Pending++
			return &Action{Ref: item.Ref, Method: ByEviction, Target: d.target, Evict: []Eviction{{Pod: p.Name, UID: p.UID}}}
		}
	}
	return nil
}

// looseMessage says what to do with pods outside the driven workloads.
func looseMessage(ref mesh.Ref) string {
	switch {
	case bare(ref):
		return fmt.Sprintf("%s has no owner, and nothing makes it anew: delete it, or name it (\"meshlift rollout %s/Pod/%s\") to have it evicted, which is for good unless somebody creates it again",
			ref, ref.Namespace, ref.Name)
	case ref.Kind == "Job":
		return "the pods of a Job are let finish: wait for it, or delete it"
	}
	return fmt.Sprintf("Meshlift does not drive the kind %s: restart it yourself, or let it finish", ref.Kind)
}
