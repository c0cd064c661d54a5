package rollout

import (
	"fmt"
	"time"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/health"
	"meshlift.dev/meshlift/internal/mesh"
)

type decider struct {
	Input
	target, origin string
	order          *order
	decisions      map[v1alpha1.WorkloadReference]*v1alpha1.WorkloadDecision
	verdicts       map[health.Key]*health.Verdict
	out            Outcome
	// pods that the rollout moves in all, and what of it is in motion.
	pods   int32
	motion motion
	// returning counts failed workloads that the policy moves back at the moment.
	returning int
	// ending counts moving workloads that wait for their last pod.
	ending int
	// unproved are those that passed the metrics gate without proof.
	unproved []string
	waves    []wave
}

// judge counts one item and returns the move that may be started for it, if any.
func (d *decider) judge(w mesh.Workload, item Item) *Action {
	d.out.Counts.Total++
	d.out.Warnings = append(d.out.Warnings, item.Warnings...)
	item = d.gated(w, item)
	decision := d.decisions[Reference(item.Ref)]
	if item.State != Excluded && item.State != Unsupported {
		d.pods = sum(d.pods, w.Desired)
	}
	if decision != nil && decision.Action == v1alpha1.MoveBack && w.Ref == item.Ref && item.State != Excluded && item.State != Unsupported {
		d.back(w, item)
		return nil
	}
	if d.Spec.Stopped && item.State == Pending {
		d.restore(w)
	}
	switch item.State {
	case Moved:
		d.out.Counts.Done++
		d.restore(w)
		return nil
	case Excluded, Unsupported:
		d.out.Counts.Skipped++
		if item.State == Unsupported {
			d.out.Warnings = append(d.out.Warnings, item.Message)
		}
		return nil
	}
	if decision != nil && decision.Action == v1alpha1.Skip {
		d.out.Counts.Skipped++
		d.restore(w) // left as it is, but for what the move changed for its own time
		return nil
	}
	wanted := int32(1)
	if decision != nil && decision.Action == v1alpha1.Retry {
		wanted = min(max(wanted, decision.Attempt), mesh.MaxAttempt)
	}
	f := d.failed(w, item)
	if f != nil && f.Reason == v1alpha1.FailureReverted && d.claimable(w) {
		return d.claimReverted(w, f, wanted)
	}
	if f != nil && wanted <= f.Attempt {
		d.fail(w, *f)
		return nil
	}
	if item.State == Moving && d.ours(w) && wanted <= d.attempt(w) {
		d.moving(w, item)
		return nil
	}
	if item.State == Moving && !d.ours(w) && wanted == 1 && !d.stale(w) {
		d.moving(w, item)
		return nil
	}
	d.out.Counts.Pending++
	return d.move(w, d.target, max(wanted, d.attempt(w)+1))
}

// failed returns the failure of the item: what is remembered (a refusal before the template was touched) or what the
// cluster shows.
func (d *decider) failed(w mesh.Workload, item Item) *v1alpha1.WorkloadFailure {
	f := &v1alpha1.WorkloadFailure{WorkloadReference: Reference(item.Ref), Attempt: max(1, d.attempt(w))}
	if item.State == Failed {
		f.Reason, f.Message, f.Gate = item.Reason, item.Message, item.Gate
		return f
	}
	if item.Checking {
		return nil // its pods are ready: the deadlines of the gates count now
	}
	if item.State == Moving && d.ours(w) {
		if f.Reason, f.Message = d.late(w); f.Reason != "" {
			f.Message += ": " + item.Message
			return f
		}
		return nil
	}
	if d.returned(w) {
		f.Reason, f.Message = v1alpha1.FailureMovedBack, d.whyBack(item.Ref)
		f.Gate = d.stoppedBy(item.Ref)
		return f
	}
	if f := d.reverted(w, item); f != nil {
		return f
	}
	return d.refused(item.Ref, d.attempt(w))
}

// refused is what is remembered of a refusal after that attempt, which left no trace in the cluster.
func (d *decider) refused(ref mesh.Ref, after int32) *v1alpha1.WorkloadFailure {
	for n := range d.Failures {
		if known := d.Failures[n]; known.WorkloadReference == Reference(ref) && known.Refused() && known.Attempt > after {
			return &known
		}
	}
	return nil
}

func (d *decider) fail(w mesh.Workload, f v1alpha1.WorkloadFailure) {
	d.out.Counts.Failed++
	for _, known := range d.Failures {
		if known.WorkloadReference == f.WorkloadReference && len(f.Events) == 0 {
			f.Events = known.Events
		}
	}
	d.out.Failures = append(d.out.Failures, f)
	d.out.Undecided = d.out.Undecided || f.Gate != nil || !d.Spec.FailurePolicy.GoesOn() || d.Spec.MaxFailures != nil && d.out.Counts.Failed > *d.Spec.MaxFailures
	if d.returned(w) {
		d.evict(w, d.origin) // on its way back
	}
	switch {
	case d.movesBack(w, &f) && nextRevision(d.Inventory, w) == d.target && (asked(w) != "" || w.Kind == mesh.KindGateway && f.Gate != nil):
		d.out.Actions = append(d.out.Actions, *d.move(w, d.origin, d.attempt(w)+1))
		d.motion.add(w)
	case d.returned(w) && itemOf(d.Inventory, w, d.origin).State == Moving:
		if reason, _ := d.late(w); reason == "" {
			d.returning++
			d.motion.add(w)
		}
	}
}

// late says why a workload in motion counts as failed; empty when it does not, and then when to look again.
func (d *decider) late(w mesh.Workload) (reason, message string) {
	timeout := timeoutOf(w, d.Spec.Timeout.Duration)
	if reason, message = failure(w, w.Move.Started, timeout, d.Now); reason == "" && timeout > 0 {
		d.wake(w.Move.Started.Add(timeout))
	}
	return reason, message
}

// whyBack keeps the words of the failure because of which a workload was moved back.
func (d *decider) whyBack(ref mesh.Ref) string {
	message := fmt.Sprintf("%s was moved back to %s after its move failed", ref, d.origin)
	for _, known := range d.Failures {
		switch {
		case known.WorkloadReference != Reference(ref):
		case known.Reason == v1alpha1.FailureMovedBack:
			return known.Message
		default:
			message += ": " + known.Message
		}
	}
	return message
}

func (d *decider) moving(w mesh.Workload, item Item) {
	d.out.Counts.Moving++
	d.motion.add(w)
	if item.MovedPods+1 >= w.Desired {
		d.ending++
	}
	d.out.Moving = append(d.out.Moving, v1alpha1.WorkloadProgress{
		WorkloadReference: Reference(item.Ref), Attempt: max(1, d.attempt(w)), Message: item.Message,
	})
	d.evict(w, item.Target)
}

// back moves one workload back because a person decided so.
func (d *decider) back(w mesh.Workload, item Item) {
	reverse := itemOf(d.Inventory, w, d.origin)
	switch {
	case reverse.State == Moved:
		d.out.Counts.Skipped++
		d.restore(w)
	case w.Move != nil && w.Move.To == d.origin && reverse.State == Moving:
		if reason, message := d.late(w); reason != "" {
			d.fail(w, v1alpha1.WorkloadFailure{
				WorkloadReference: Reference(item.Ref), Attempt: recorded(w), Reason: reason, Message: "moving back: " + message + ": " + reverse.Message,
			})
			return
		}
		reverse.Message = "moving back: " + reverse.Message
		d.moving(w, reverse)
	case item.State == Pending:
		d.out.Counts.Skipped++
	default:
		d.out.Counts.Moving++
		d.motion.add(w)
		d.out.Actions = append(d.out.Actions, *d.move(w, d.origin, d.attempt(w)+1))
	}
}

// ours tells whether the last move of the workload was made by this rollout towards its target.
func (d *decider) ours(w mesh.Workload) bool {
	return w.Move != nil && w.Move.Rollout == d.Name && w.Move.To == d.target
}

// stale tells whether a move of somebody else towards the target has failed already, so that it must be tried again.
func (d *decider) stale(w mesh.Workload) bool {
	if w.Move == nil {
		return false
	}
	reason, _ := failure(w, w.Move.Started, timeoutOf(w, d.Spec.Timeout.Duration), d.Now)
	return reason != ""
}

// returned tells whether this rollout moved the workload back.
func (d *decider) returned(w mesh.Workload) bool {
	return w.Move != nil && w.Move.Rollout == d.Name && w.Move.To == d.origin
}

// attempt is the number of the last attempt of this rollout; 0 when it made none.
func (d *decider) attempt(w mesh.Workload) int32 {
	if d.ours(w) || d.returned(w) {
		return recorded(w)
	}
	return 0
}

// recorded is the attempt in the record of the workload, within bounds whatever somebody wrote there.
func recorded(w mesh.Workload) int32 { return min(max(1, w.Move.Attempt), mesh.MaxAttempt) }

func (d *decider) move(w mesh.Workload, target string, attempt int32) *Action {
	if w.Move != nil && w.Move.To == target && w.Move.Rollout != d.Name {
		attempt = max(attempt, recorded(w)+1) // a failed move of an earlier rollout: only a changed template makes new pods
	}
	attempt = min(attempt, mesh.MaxAttempt)
	record := mesh.Move{To: target, From: d.From, Started: d.Now.UTC().Truncate(time.Second), Attempt: attempt, Rollout: d.Name}
	if target == d.From {
		record.From = d.To
	}
	a := &Action{Ref: w.Ref, Target: target, Label: target == d.To, Method: MethodOf(w), Surge: CanSurge(w), Lower: Lowers(w)}
	if w.Pinned() == d.From || w.Move != nil && w.Move.Pin == d.From {
		record.Pin, a.Pin = d.From, target
	}
	a.Record = record
	if a.Method == ByClaim {
		d.byClaim(w, a)
	}
	return a
}

// restore gives a workload its own strategy back when its move is over. Only gateways surge and only StatefulSets have a
// partition: the annotation on anything else is somebody's own, and nothing to wait for.
func (d *decider) restore(w mesh.Workload) {
	kept := w.Kind == mesh.KindDeployment || w.Kind == mesh.KindStatefulSet
	if n := len(d.out.Actions); n > 0 && d.out.Actions[n-1].Ref == w.Ref {
		return // for another reason already: a rollout that is stopped, and this workload is skipped
	}
	if kept && w.Annotations[v1alpha1.StrategyAnnotation] != "" {
		d.out.Actions = append(d.out.Actions, Action{Ref: w.Ref, Method: MethodOf(w), Restore: true})
	}
}

func (d *decider) wake(t time.Time) {
	if d.out.Again.IsZero() || t.Before(d.out.Again) {
		d.out.Again = t
	}
}
