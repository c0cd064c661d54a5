package rollout

import (
	"fmt"
	"slices"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// reverted tells that somebody, an operator or GitOps, wrote the workload again without the move that this rollout made;
// nil when nobody did. Making the move once more would be a fight in which every blow is a restart.
//
// The record of the move on the workload tells it. A writer that drops the record too is found out by what the last status
// remembers, or by pods of the target that nothing else explains.
func (d *decider) reverted(w mesh.Workload, item Item) *v1alpha1.WorkloadFailure {
	if item.State != Pending || !d.asksOtherwise(w) {
		return nil
	}
	attempt := int32(0)
	switch {
	case d.ours(w):
		attempt = recorded(w)
	case w.Move == nil:
		attempt = d.remembered(w)
	}
	if attempt == 0 {
		return nil
	}
	return &v1alpha1.WorkloadFailure{
		WorkloadReference: Reference(item.Ref), Attempt: attempt, Reason: v1alpha1.FailureReverted,
		Message: fmt.Sprintf("%s was moved to %s and then written again without the move, %s: %s, and then retry", item.Ref, d.target, writer(w), remedy(w, d.target, d.target == d.To)),
	}
}

// remembered is the attempt of a move that left no record on the workload; 0 when there was none.
func (d *decider) remembered(w mesh.Workload) int32 {
	for _, f := range d.Failures {
		if f.WorkloadReference == Reference(w.Ref) && f.Reason == v1alpha1.FailureReverted {
			return f.Attempt
		}
	}
	for _, p := range d.Begun {
		if p.WorkloadReference == Reference(w.Ref) {
			return p.Attempt
		}
	}
	labelled := func(p mesh.Pod) bool {
		return !p.Terminating && p.Revision == d.To && p.Labels[v1alpha1.RevisionLabel] == d.To
	}
	if d.target == d.To && slices.ContainsFunc(w.Pods, labelled) {
		attempt := int32(1)
		if decision := d.decisions[Reference(w.Ref)]; decision != nil && decision.Action == v1alpha1.Retry {
			attempt = max(attempt, decision.Attempt)
		}
		return attempt
	}
	return 0
}

// asksOtherwise tells whether the object itself asks for another revision than the target; that admission routes its pods
// elsewhere at the moment is no revert.
func (d *decider) asksOtherwise(w mesh.Workload) bool {
	switch {
	case w.Kind == mesh.KindGateway:
		return true // it is pending by its label alone
	case d.target == d.To:
		return asked(w) != d.To
	}
	return asked(w) == d.To || w.Pinned() == d.To
}

func writer(w mesh.Workload) string {
	if w.Owner != "" {
		return "by its owner " + w.Owner + " or somebody else"
	}
	return "by GitOps, an operator or a person"
}

// remedy is what makes the move last.
func remedy(w mesh.Workload, target string, forward bool) string {
	switch {
	case w.Kind == mesh.KindGateway:
		return fmt.Sprintf("set its label %s=%s where it comes from", mesh.LabelRev, target)
	case forward:
		return fmt.Sprintf("put the label %s=%s on the pod template where it comes from until the upgrade is done", v1alpha1.RevisionLabel, target)
	}
	return fmt.Sprintf("take the label %s off the pod template where it comes from", v1alpha1.RevisionLabel)
}
