package rollout

import (
	"fmt"
	"time"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/health"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/window"
)

// Input is everything a decision depends on.
type Input struct {
	// Name of the DataPlaneRollout.
	Name string
	Spec v1alpha1.DataPlaneRolloutSpec
	// Failures remembered from the last status: refusals that left no trace in the cluster.
	Failures []v1alpha1.WorkloadFailure
	// Begun are the moves that were begun and not done when the rollout was looked at last.
	Begun []v1alpha1.WorkloadProgress
	// Waves of the last status: when each was complete.
	Waves     []v1alpha1.WaveStatus
	From, To  string
	Inventory *mesh.Inventory
	// Suspended stops new moves for a reason outside the rollout, for example that admission is not ready to route; it is
	// shown to the user. "" lets moves start.
	Suspended string
	// Calendar of the rollout and of the cluster. It does not hold moves back to the old revision.
	Calendar window.Calendar
	// Verdicts of the health gates about [Subjects]. A subject without one waits.
	Verdicts []health.Verdict
	Now      time.Time
}

// Action is one thing to do to one workload.
type Action struct {
	Ref mesh.Ref
	// Method is how the workload is moved.
	Method Method
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
	// Lower sets the partition of a StatefulSet to 0 for the time of the move.
	Lower bool
	// Restore gives a workload its own strategy back; nothing else is changed then.
	Restore bool
	// Claims is the name of the AdmissionClaims object that a move by claim writes to, Why the reason of the claim.
	Claims, Why string
	// Reverted tells that the claim is made because somebody wrote the workload again without its move. A workload that has the
	// move after all, because a cache was behind, is left as it is.
	Reverted bool
	// Evict is the pods to evict; nothing else is changed then.
	Evict []Eviction
}

// Outcome is what to do and what to tell.
type Outcome struct {
	// Actions in the order in which they should be started.
	Actions []Action
	// Next are moves that wait for room, in their order, as many as will soon have some. They may be rehearsed.
	Next   []Action
	Counts v1alpha1.RolloutCounts
	// Moving and Failures for the status, in plan order.
	Moving   []v1alpha1.WorkloadProgress
	Failures []v1alpha1.WorkloadFailure
	Warnings []string
	// Waves in order, when the spec has any.
	Waves []v1alpha1.WaveStatus
	// Held says why no further move starts although some are pending, as one sentence; "" when they may start.
	Held string
	// Undecided is true when a failure waits for a person.
	Undecided bool
	// Complete is true when nothing is left to do.
	Complete bool
	// Again is the next moment at which a decision may change without any change of the cluster; zero for none.
	Again time.Time
}

// Decide says which moves to start now, given the state of the cluster and the wish of the user. It is deterministic,
// and deciding again after its actions took effect adds nothing. Budgets hold whatever the cluster does meanwhile, because
// what is in motion is read from the cluster.
func Decide(in Input) Outcome {
	d := newDecider(in)
	o, err := newOrder(&in.Spec, in.Inventory)
	if err != nil {
		d.out.Held = err.Error() // admission refuses such a spec
		o, _ = newOrder(&v1alpha1.DataPlaneRolloutSpec{Targets: in.Spec.Targets}, in.Inventory)
	}
	d.order = o
	d.waves = make([]wave, len(o.spec.Waves)+1)
	var pending []candidate
	for _, p := range o.arrange(Plan(in.Inventory, in.From, in.To, in.Spec.Direction)) {
		w, _ := d.Inventory.Workload(p.Ref)
		before := d.out.Counts
		a := d.judgeNamed(w, &p.Item)
		d.count(p, w, before)
		if a != nil {
			pending = append(pending, candidate{p, w, *a})
		}
	}
	d.out.Warnings = append(d.out.Warnings, d.unprovedWarning()...)
	d.start(pending)
	d.reportWaves()
	d.out.Complete = d.complete()
	return d.out
}

func newDecider(in Input) *decider {
	d := &decider{Input: in, target: in.To, origin: in.From, decisions: map[v1alpha1.WorkloadReference]*v1alpha1.WorkloadDecision{}}
	if in.Spec.Direction == v1alpha1.Back {
		d.target, d.origin = in.From, in.To
	}
	for n := range in.Spec.Decisions {
		d.decisions[in.Spec.Decisions[n].WorkloadReference] = &in.Spec.Decisions[n]
	}
	d.verdicts = make(map[health.Key]*health.Verdict, len(in.Verdicts))
	for n := range in.Verdicts {
		d.verdicts[in.Verdicts[n].Key] = &in.Verdicts[n]
	}
	return d
}

// candidate is a move that may be started when its turn has come.
type candidate struct {
	planned
	workload mesh.Workload
	action   Action
}

// start starts pending moves as far as budgets, waves, windows and failures allow. Restores and moves back always go first,
// and nothing holds them.
func (d *decider) start(pending []candidate) {
	turn, soaking := d.turn()
	if d.Spec.Paused || d.Spec.Stopped || d.hold(pending, soaking) || d.out.Undecided {
		return
	}
	limits, all := LimitsOf(&d.Spec, d.pods), false
	for _, c := range pending {
		if c.wave != turn.wave || c.half != turn.half {
			continue
		}
		room := limits.admit(d.motion, c.workload)
		switch all = all || room == full; {
		case !all && room == fits:
			d.motion.add(c.workload)
			d.out.Actions = append(d.out.Actions, c.action)
		case len(d.out.Next) < d.ending:
			d.out.Next = append(d.out.Next, c.action)
		case all:
			return
		}
	}
}

// hold says why no move starts now, and when to look again.
func (d *decider) hold(pending []candidate, soaking string) bool {
	if d.Suspended != "" {
		d.out.Held = d.Suspended
	}
	if d.out.Held != "" || len(pending) == 0 {
		return d.out.Held != ""
	}
	d.out.Held = soaking
	if d.Spec.Direction == v1alpha1.Back {
		return d.out.Held != ""
	}
	if s := d.Calendar.At(d.Now); !s.Open {
		d.out.Held = s.Message
		if !s.Changes.IsZero() {
			d.wake(s.Changes)
		}
	}
	return d.out.Held != ""
}

func (d *decider) complete() bool {
	c := d.out.Counts
	switch {
	case c.Moving > 0 || d.returning > 0 || len(d.out.Actions) > 0:
		return false
	case d.Spec.Stopped:
		return true
	}
	return c.Pending == 0 && !d.out.Undecided
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
