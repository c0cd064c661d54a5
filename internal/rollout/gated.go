package rollout

import (
	"cmp"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/health"
	"meshlift.dev/meshlift/internal/mesh"
)

// Subjects are the workloads that the health gates of the rollout have to look at: those that it has moved, or moves, forward, and
// that no gate has stopped. Which of them have passed before is for the caller to know. Failures has to be filled in.
func Subjects(in Input) []health.Subject {
	d := newDecider(in)
	if !d.gates() {
		return nil
	}
	chosen := newTargets(in.Spec.Targets)
	var out []health.Subject
	for _, w := range in.Inventory.Workloads {
		if !d.ours(w) || !chosen.selects(w.Ref) || !health.Applies(w) || d.stopped(w) != nil {
			continue
		}
		item := itemOf(in.Inventory, w, d.target)
		if item.State != Moved && item.State != Moving {
			continue
		}
		s := health.Subject{
			Key: d.key(w), Target: d.target, Settled: item.State == Moved, Started: w.Move.Started, Gateway: w.Role.IsGateway(), Refused: health.InjectionFailure(w.Progress.Failure),
		}
		for _, p := range w.Pods {
			if !p.Terminating && p.Revision == d.target {
				s.Pods = append(s.Pods, p.Name)
			}
		}
		out = append(out, s)
	}
	return out
}

// gates tells whether the rollout has health gates. They do not hold moves back to the old revision.
func (d *decider) gates() bool { return d.Spec.Health.Looks() && d.target == d.To }

func (d *decider) key(w mesh.Workload) health.Key {
	return health.Key{Ref: w.Ref, Attempt: recorded(w)}
}

// gated adds what the health gates say to what the pods of a workload say. One whose pods are ready still moves until the gates
// have let it pass; when the rollout is stopped, nobody waits for that.
func (d *decider) gated(w mesh.Workload, item Item) Item {
	if w.Ref != item.Ref || item.State != Moved && item.State != Moving || !d.ours(w) || d.target != d.To {
		return item
	}
	if known := d.stopped(w); known != nil {
		item.State, item.Reason, item.Message, item.Gate = Failed, known.Reason, known.Message, known.Gate
		return item
	}
	if !d.gates() || !health.Applies(w) {
		return item
	}
	v := cmp.Or(d.verdicts[d.key(w)], &health.Verdict{State: health.Wait, Message: "its health is looked at"})
	switch v.State {
	case health.Pass:
		if v.Unproved && item.State == Moved {
			d.unproved = append(d.unproved, item.Ref.String())
		}
	case health.Fail:
		item.State, item.Reason, item.Message = Failed, v.Reason, v.Message
		item.Gate = &v1alpha1.GateEvidence{Gate: v.Gate, At: metav1.NewTime(v.At), Seen: v.Seen}
	default:
		d.wake(d.Now.Add(health.Interval))
		if item.State == Moved && !d.Spec.Stopped {
			item.State, item.Checking = Moving, true
			item.Message = fmt.Sprintf("%d of %d pods ready on %s; %s", item.MovedPods, w.Desired, item.Target, v.Message)
		}
	}
	return item
}

// stopped is what is remembered of a health gate that stopped the last attempt; nil when none did.
func (d *decider) stopped(w mesh.Workload) *v1alpha1.WorkloadFailure {
	for n := range d.Failures {
		if f := &d.Failures[n]; f.WorkloadReference == Reference(w.Ref) && f.Gate != nil && f.Attempt == recorded(w) && f.Reason != v1alpha1.FailureMovedBack {
			return f
		}
	}
	return nil
}

// stoppedBy is what is remembered of the health gate because of which a workload was moved back; nil when there was none.
func (d *decider) stoppedBy(ref mesh.Ref) *v1alpha1.GateEvidence {
	for n := range d.Failures {
		if f := &d.Failures[n]; f.WorkloadReference == Reference(ref) && f.Gate != nil {
			return f.Gate
		}
	}
	return nil
}

// movesBack tells whether a failed workload is moved back by itself now. What a health gate stopped is moved back when its
// evidence is in the status: after the move nothing of it can be seen.
func (d *decider) movesBack(w mesh.Workload, f *v1alpha1.WorkloadFailure) bool {
	switch {
	case f.Gate == nil:
		return d.Spec.FailurePolicy.MovesBack()
	case !d.Spec.Health.MovesBack() || f.Reason == v1alpha1.FailureMovedBack:
		return false
	case d.stopped(w) == nil:
		d.wake(d.Now)
		return false
	}
	return true
}

// unprovedWarning is about workloads that passed the metrics gate without proof; nil when there are none.
func (d *decider) unprovedWarning() []string {
	if len(d.unproved) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%d workloads had too few requests in the time of the metrics gate to show that they are as good as before, such as %s", len(d.unproved), d.unproved[0])}
}
