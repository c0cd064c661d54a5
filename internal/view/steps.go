package view

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// StepState says how far a step of an upgrade is.
type StepState string

// States of a step.
const (
	// StepDone is complete.
	StepDone StepState = "Done"
	// StepActive is being worked on by Meshlift.
	StepActive StepState = "Active"
	// StepAttention waits for a person.
	StepAttention StepState = "Attention"
	// StepFailed needs a repair before anything goes on.
	StepFailed StepState = "Failed"
	// StepWaiting comes later.
	StepWaiting StepState = "Waiting"
)

// Glyph of the state in a checklist.
func (s StepState) Glyph() string {
	switch s {
	case StepDone:
		return "✓"
	case StepActive, StepAttention:
		return "●"
	case StepFailed:
		return "✗"
	default:
		return "○"
	}
}

func (t Theme) state(s StepState, text string) string {
	switch s {
	case StepDone:
		return t.Good(text)
	case StepActive:
		return t.Busy(text)
	case StepAttention:
		return t.Warn(text)
	case StepFailed:
		return t.Bad(text)
	default:
		return t.Dim(text)
	}
}

// Step is one of the five steps of an upgrade.
type Step struct {
	Number  int       `json:"number"`
	Title   string    `json:"title"`
	State   StepState `json:"state"`
	Reason  string    `json:"reason,omitempty"`
	Message string    `json:"message,omitempty"`
	// Condition of the ClusterUpgrade that stands behind the step.
	Condition string `json:"condition"`
}

// stepOrder lists the steps in order, with the condition behind each.
var stepOrder = [...]struct{ condition, title string }{
	{v1alpha1.ConditionComponentsReady, "non-Istio components"},
	{v1alpha1.ConditionControlPlaneReady, "new istiod"},
	{v1alpha1.ConditionEnvoyFiltersHandled, "EnvoyFilters"},
	{v1alpha1.ConditionDataPlanesMoved, "data planes"},
	{v1alpha1.ConditionDecommissioned, "decommission"},
}

// Steps returns the five steps of the upgrade.
func Steps(u *v1alpha1.ClusterUpgrade) []Step {
	var out []Step
	for n, s := range stepOrder {
		c := meta.FindStatusCondition(u.Status.Conditions, s.condition)
		step := Step{Number: n + 1, Title: s.title, Condition: s.condition, State: stateOf(c)}
		if c != nil {
			step.Reason, step.Message = c.Reason, c.Message
		}
		out = append(out, step)
	}
	return out
}

var (
	failedReasons = []string{
		v1alpha1.ReasonInstallFailed, v1alpha1.ReasonFailed, v1alpha1.ReasonError, v1alpha1.ReasonRevisionConflict,
		v1alpha1.ReasonUnknownRevision, v1alpha1.ReasonUnknownVersion, v1alpha1.ReasonUnsupportedKubernetes,
		v1alpha1.ReasonUnsupportedPath, v1alpha1.ReasonAnotherUpgrade, v1alpha1.ReasonAmbiguousRevision,
	}
	attentionReasons = []string{
		v1alpha1.ReasonUserAction, v1alpha1.ReasonPaused, v1alpha1.ReasonStopped, v1alpha1.ReasonFilters,
		v1alpha1.ReasonDataPlanesRemain, v1alpha1.ReasonInUse, v1alpha1.ReasonUnknownUse,
	}
)

func stateOf(c *metav1.Condition) StepState {
	switch {
	case c == nil || c.Reason == v1alpha1.ReasonWaiting:
		return StepWaiting
	case c.Status == metav1.ConditionTrue:
		return StepDone
	case slices.Contains(failedReasons, c.Reason):
		return StepFailed
	case slices.Contains(attentionReasons, c.Reason):
		return StepAttention
	default:
		return StepActive
	}
}

// FirstOpen returns the first step that is not done; nil when all are.
func FirstOpen(steps []Step) *Step {
	n := slices.IndexFunc(steps, func(s Step) bool { return s.State != StepDone })
	if n < 0 {
		return nil
	}
	return &steps[n]
}

// Finished tells whether the upgrade has reached its end.
func Finished(u *v1alpha1.ClusterUpgrade) bool {
	return meta.IsStatusConditionTrue(u.Status.Conditions, v1alpha1.ConditionReady) ||
		meta.IsStatusConditionTrue(u.Status.Conditions, v1alpha1.ConditionDecommissioned)
}

// Refused tells whether the upgrade was not accepted.
func Refused(u *v1alpha1.ClusterUpgrade) bool {
	return meta.IsStatusConditionFalse(u.Status.Conditions, v1alpha1.ConditionAccepted) && u.Status.From == nil
}

// Current returns the upgrade that is running: of those that are not finished an accepted one first, then the oldest.
// It returns nil when none is.
func Current(upgrades []v1alpha1.ClusterUpgrade) *v1alpha1.ClusterUpgrade {
	var best *v1alpha1.ClusterUpgrade
	for n := range upgrades {
		u := &upgrades[n]
		if Finished(u) {
			continue
		}
		if best == nil || rank(u) > rank(best) || rank(u) == rank(best) && u.CreationTimestamp.Before(&best.CreationTimestamp) {
			best = u
		}
	}
	return best
}

// Latest returns the upgrade that is running, else the newest one; nil when there is none.
func Latest(upgrades []v1alpha1.ClusterUpgrade) *v1alpha1.ClusterUpgrade {
	if u := Current(upgrades); u != nil {
		return u
	}
	var newest *v1alpha1.ClusterUpgrade
	for n := range upgrades {
		if u := &upgrades[n]; newest == nil || newest.CreationTimestamp.Before(&u.CreationTimestamp) {
			newest = u
		}
	}
	return newest
}

func rank(u *v1alpha1.ClusterUpgrade) int {
	switch {
	case meta.IsStatusConditionTrue(u.Status.Conditions, v1alpha1.ConditionAccepted):
		return 2
	case Refused(u):
		return 0
	default:
		return 1
	}
}

// Running returns the rollout of the upgrade that is not complete; of several the newest. It returns nil when none is.
func Running(rollouts []v1alpha1.DataPlaneRollout, upgrade string) *v1alpha1.DataPlaneRollout {
	var best *v1alpha1.DataPlaneRollout
	for n := range rollouts {
		r := &rollouts[n]
		if r.Spec.Upgrade != upgrade || !r.DeletionTimestamp.IsZero() || Complete(r) {
			continue
		}
		if best == nil || best.CreationTimestamp.Before(&r.CreationTimestamp) {
			best = r
		}
	}
	return best
}

// Complete tells whether nothing is left to do for the rollout.
func Complete(r *v1alpha1.DataPlaneRollout) bool {
	return meta.IsStatusConditionTrue(r.Status.Conditions, v1alpha1.ConditionComplete)
}

// Path is the way of an upgrade in words: "Istio 1.30.0 (revision 1-30) → 1.31.0 (revision 1-31)".
func Path(u *v1alpha1.ClusterUpgrade) string {
	to := "Istio " + u.Spec.Version
	if u.Status.To != nil {
		to = u.Status.To.Version + " (revision " + u.Status.To.Revision + ")"
	}
	if u.Status.From == nil {
		return to
	}
	return "Istio " + u.Status.From.Version + " (revision " + u.Status.From.Revision + ") → " + to
}
