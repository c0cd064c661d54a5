package rollout

import (
	"fmt"
	"slices"
	"time"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// Input is everything a decision depends on.
type Input struct {
	// Name of the DataPlaneRollout.
	Name string
	Spec v1alpha1.DataPlaneRolloutSpec
	// Failures remembered from the last status: refusals that left no trace in the cluster.
	Failures  []v1alpha1.WorkloadFailure
	From, To  string
	Inventory *mesh.Inventory
	// Suspended stops new moves for a reason outside the rollout, for example that admission is not ready to route; it is
	// shown to the user. "" lets moves start.
	Suspended string
	Now       time.Time
}

// Action is one thing to do to one workload.
type Action struct {
	Ref mesh.Ref
	// Target revision.
	Target string
	// Label tells whether the pod template must carry the handover label for Target; without it, it must not.
	Label bool
	// Record to keep on the workload.
	Record mesh.Move
	// Pin is the revision that the pod template's label istio.io/rev must name; "" leaves it alone.
	Pin string
	// Surge lets a gateway surge for the time of the move.
	Surge bool
	// Restore gives a gateway its own strategy back; nothing else is changed then.
	Restore bool
}

// Outcome is what to do and what to tell.
type Outcome struct {
	// Actions in the order in which they should be started.
	Actions []Action
	Counts  v1alpha1.RolloutCounts
	// Moving and Failures for the status, in plan order.
	Moving   []v1alpha1.WorkloadProgress
	Failures []v1alpha1.WorkloadFailure
	Warnings []string
	// Undecided is true when a failure waits for a person.
	Undecided bool
	// Complete is true when nothing is left to do.
	Complete bool
	// Again is the next moment at which a decision may change without any change of the cluster; zero for none.
	Again time.Time
}

// Decide says which moves to start now, given the state of the cluster and the wish of the user. It is deterministic,
// and deciding again after its actions took effect adds nothing.
func Decide(in Input) Outcome {
	d := &decider{Input: in, target: in.To, origin: in.From}
	if in.Spec.Direction == v1alpha1.Back {
		d.target, d.origin = in.From, in.To
	}
	plan := Plan(in.Inventory, in.From, in.To, in.Spec.Direction)
	var pending []Action
	for _, item := range plan {
		if !Selected(in.Spec.Targets, item.Ref) {
			continue
		}
		if a := d.judge(item); a != nil {
			pending = append(pending, *a)
		}
	}
	d.start(pending)
	d.out.Complete = d.complete()
	return d.out
}

// Selected tells whether the targets of a rollout contain the workload; no targets mean every workload.
func Selected(targets []v1alpha1.RolloutTarget, ref mesh.Ref) bool {
	return len(targets) == 0 || slices.ContainsFunc(targets, func(t v1alpha1.RolloutTarget) bool {
		return t.Namespace == ref.Namespace && (t.Kind == "" || t.Kind == ref.Kind && t.Name == ref.Name)
	})
}

type decider struct {
	Input
	target, origin string
	out            Outcome
}

// judge counts one item and returns the move that may be started for it, if any.
func (d *decider) judge(item Item) *Action {
	d.out.Counts.Total++
	d.out.Warnings = append(d.out.Warnings, item.Warnings...)
	decision := d.decision(item.Ref)
	w, _ := d.Inventory.Workload(item.Ref)
	if decision != nil && decision.Action == v1alpha1.MoveBack && item.State != Excluded && item.State != Unsupported {
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
		return nil
	}
	wanted := int32(1)
	if decision != nil && decision.Action == v1alpha1.Retry {
		wanted = max(wanted, decision.Attempt)
	}
	if f := d.failed(w, item); f != nil && wanted <= f.Attempt {
		d.fail(w, *f)
		return nil
	}
	if item.State == Moving && d.ours(w) && wanted <= w.Move.Attempt {
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
		f.Reason, f.Message = "Paused", item.Message
		return f
	}
	if item.State == Moving && d.ours(w) {
		if f.Reason, f.Message = failure(w, w.Move.Started, d.Spec.Timeout.Duration, d.Now); f.Reason != "" {
			f.Message += ": " + item.Message
			return f
		}
		d.wake(w.Move.Started.Add(d.Spec.Timeout.Duration))
		return nil
	}
	if d.returned(w) {
		f.Reason, f.Message = v1alpha1.FailureMovedBack, fmt.Sprintf("%s was moved back to %s after its move failed", item.Ref, d.origin)
		return f
	}
	for n := range d.Failures {
		if known := d.Failures[n]; known.WorkloadReference == Reference(item.Ref) && known.Refused() && known.Attempt > d.attempt(w) {
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
	d.out.Undecided = d.out.Undecided || d.Spec.FailurePolicy != v1alpha1.FailureContinue
	if d.Spec.FailurePolicy == v1alpha1.FailureMoveBack && nextRevision(d.Inventory, w) == d.target && asked(w) != "" {
		d.out.Actions = append(d.out.Actions, *d.move(w, d.origin, d.attempt(w)+1))
	}
}

func (d *decider) moving(w mesh.Workload, item Item) {
	d.out.Counts.Moving++
	d.out.Moving = append(d.out.Moving, v1alpha1.WorkloadProgress{
		WorkloadReference: Reference(item.Ref), Attempt: max(1, d.attempt(w)), Message: item.Message,
	})
}

// back moves one workload back because a person decided so.
func (d *decider) back(w mesh.Workload, item Item) {
	reverse := itemOf(d.Inventory, w, d.origin)
	switch {
	case reverse.State == Moved:
		d.out.Counts.Skipped++
		d.restore(w)
	case w.Move != nil && w.Move.To == d.origin && reverse.State == Moving:
		if reason, message := failure(w, w.Move.Started, d.Spec.Timeout.Duration, d.Now); reason != "" {
			d.fail(w, v1alpha1.WorkloadFailure{
				WorkloadReference: Reference(item.Ref), Attempt: w.Move.Attempt, Reason: reason, Message: "moving back: " + message + ": " + reverse.Message,
			})
			return
		}
		d.wake(w.Move.Started.Add(d.Spec.Timeout.Duration))
		reverse.Message = "moving back: " + reverse.Message
		d.moving(w, reverse)
	case item.State == Pending:
		d.out.Counts.Skipped++
	default:
		d.out.Counts.Moving++
		d.out.Actions = append(d.out.Actions, *d.move(w, d.origin, d.attempt(w)+1))
	}
}

// start starts pending moves as far as parallelism, pause and failures allow. Restores and moves back always go first.
func (d *decider) start(pending []Action) {
	held := d.Spec.Paused || d.Spec.Stopped || d.Suspended != "" || d.out.Undecided
	room := int(max(1, d.Spec.Parallelism)) - int(d.out.Counts.Moving)
	if held || room <= 0 {
		return
	}
	pending = pending[:min(room, len(pending))]
	d.out.Actions = append(d.out.Actions, pending...)
}

func (d *decider) complete() bool {
	c := d.out.Counts
	switch {
	case c.Moving > 0 || len(d.out.Actions) > 0:
		return false
	case d.Spec.Stopped:
		return true
	}
	return c.Pending == 0 && !d.out.Undecided
}

func (d *decider) decision(ref mesh.Ref) *v1alpha1.WorkloadDecision {
	for n := range d.Spec.Decisions {
		if d.Spec.Decisions[n].WorkloadReference == Reference(ref) {
			return &d.Spec.Decisions[n]
		}
	}
	return nil
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
	reason, _ := failure(w, w.Move.Started, d.Spec.Timeout.Duration, d.Now)
	return reason != ""
}

// returned tells whether this rollout moved the workload back.
func (d *decider) returned(w mesh.Workload) bool {
	return w.Move != nil && w.Move.Rollout == d.Name && w.Move.To == d.origin
}

// attempt is the number of the last attempt of this rollout; 0 when it made none.
func (d *decider) attempt(w mesh.Workload) int32 {
	if d.ours(w) || d.returned(w) {
		return w.Move.Attempt
	}
	return 0
}

func (d *decider) move(w mesh.Workload, target string, attempt int32) *Action {
	record := mesh.Move{To: target, From: d.From, Started: d.Now.UTC().Truncate(time.Second), Attempt: attempt, Rollout: d.Name}
	if target == d.From {
		record.From = d.To
	}
	a := &Action{Ref: w.Ref, Target: target, Label: target == d.To, Surge: CanSurge(w)}
	if w.Pinned() == d.From || w.Move != nil && w.Move.Pin == d.From {
		record.Pin, a.Pin = d.From, target
	}
	if w.Move != nil && w.Move.To == target && w.Move.Rollout != d.Name {
		record.Attempt = max(attempt, w.Move.Attempt+1) // a failed move of an earlier rollout: only a changed template makes new pods
	}
	a.Record = record
	return a
}

// restore gives a gateway its own strategy back when its move is over.
func (d *decider) restore(w mesh.Workload) {
	if w.Annotations[v1alpha1.StrategyAnnotation] != "" {
		d.out.Actions = append(d.out.Actions, Action{Ref: w.Ref, Restore: true})
	}
}

func (d *decider) wake(t time.Time) {
	if d.Spec.Timeout.Duration > 0 && (d.out.Again.IsZero() || t.Before(d.out.Again)) {
		d.out.Again = t
	}
}

// Reference turns a domain reference into that of the API.
func Reference(r mesh.Ref) v1alpha1.WorkloadReference {
	return v1alpha1.WorkloadReference{Kind: r.Kind, Namespace: r.Namespace, Name: r.Name}
}

// Summary is the progress of a rollout in one line.
func Summary(c v1alpha1.RolloutCounts) string {
	s := fmt.Sprintf("%d of %d moved", c.Done, c.Total)
	for _, part := range []struct {
		n    int32
		what string
	}{{c.Moving, "moving"}, {c.Failed, "failed"}, {c.Skipped, "skipped"}} {
		if part.n > 0 {
			s += fmt.Sprintf(", %d %s", part.n, part.what)
		}
	}
	return s
}
