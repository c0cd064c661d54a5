// Package fleet decides what no cluster of a mesh can know alone: whether an old istiod is left anywhere (the freeze), whether every
// cluster has moved (the barrier), which cluster may decommission now (the turn), and which clusters are upgraded next (the waves).
// It is pure: what is known of the clusters goes in, verdicts come out. Unknown is never "no": a cluster that does not answer has
// not moved.
package fleet

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
)

// Member is what is known of one cluster of a mesh.
type Member struct {
	Name string
	// Known is true when the cluster answered and its agent reports. Else the facts are old ones, and Problem says why.
	Known   bool
	Problem string
	// Pending is true for a cluster that is not known because the hub has only begun to ask.
	Pending bool
	// Revisions of istiod.
	Revisions []hub.RevisionSummary
	// Upgrade that is under way, else the newest one; nil when there is none.
	Upgrade *hub.UpgradeSummary
	// Link is what the hub told the cluster last, as the cluster has it.
	Link *v1alpha1.HubLink
	// Heard is true when the agent has seen the present ControlPlane, and Link with it.
	Heard bool
}

// Registered is what the status of a MemberCluster says.
func Registered(mc *hub.MemberCluster) Member {
	m := Member{Name: mc.Name, Revisions: mc.Status.Revisions, Upgrade: mc.Status.Upgrade}
	connected := meta.FindStatusCondition(mc.Status.Conditions, hub.ConditionConnected)
	agent := meta.FindStatusCondition(mc.Status.Conditions, hub.ConditionAgentReady)
	switch {
	case connected == nil || connected.Status == metav1.ConditionUnknown:
		m.Problem, m.Pending = "it was not asked yet", true
	case connected.Status != metav1.ConditionTrue:
		m.Problem = cmp.Or(connected.Message, "it does not answer")
	case agent != nil && agent.Status != metav1.ConditionTrue:
		m.Problem = cmp.Or(agent.Message, "its agent is not known to run")
		m.Pending = agent.Status == metav1.ConditionUnknown // the hub has only begun to read
	default:
		m.Known = true
	}
	return m
}

// Observed is what the objects of a cluster say: its ControlPlane, nil when it has none, and its ClusterUpgrades.
func Observed(name string, cp *v1alpha1.ControlPlane, upgrades []v1alpha1.ClusterUpgrade) Member {
	m := Member{Name: name, Upgrade: Upgrade(upgrades)}
	if cp == nil {
		m.Problem = "its agent has not reported yet"
		return m
	}
	m.Known, m.Revisions, m.Link = true, Revisions(cp), cp.Spec.Hub
	m.Heard = cp.Status.ObservedGeneration == cp.Generation
	if cp.Status.ObservedGeneration == 0 {
		m.Known, m.Problem = false, "its agent has not reported yet"
	}
	return m
}

// Unknown is a cluster that cannot be looked at now: what was known of it, and why.
func Unknown(last Member, problem string) Member {
	last.Known, last.Heard, last.Problem = false, false, problem
	return last
}

// NotYet is a cluster that the hub has only begun to look at.
func NotYet(last Member, problem string) Member {
	last = Unknown(last, problem)
	last.Pending = true
	return last
}

// Revisions sums up the istiods of a ControlPlane.
func Revisions(cp *v1alpha1.ControlPlane) []hub.RevisionSummary {
	var out []hub.RevisionSummary
	for _, r := range cp.Status.Revisions {
		out = append(out, hub.RevisionSummary{
			RevisionRef: v1alpha1.RevisionRef{Revision: r.Name, Version: r.Version},
			Sidecars:    r.Sidecars, Gateways: r.Gateways, UpgradeTo: r.UpgradeTo,
		})
	}
	return out
}

// Upgrade sums up the upgrade of a cluster that is under way, an accepted one before others, else the newest one; nil when there
// is none.
func Upgrade(upgrades []v1alpha1.ClusterUpgrade) *hub.UpgradeSummary {
	if len(upgrades) == 0 {
		return nil
	}
	first := slices.MinFunc(upgrades, func(a, b v1alpha1.ClusterUpgrade) int {
		if order := cmp.Compare(standing(&a), standing(&b)); order != 0 {
			return order
		}
		age := a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
		if standing(&a) == over {
			age = -age
		}
		return cmp.Or(age, cmp.Compare(a.Name, b.Name))
	})
	return Summary(&first)
}

// Standings of upgrades, in the order in which they matter.
const (
	running = iota
	waiting
	over
)

func standing(u *v1alpha1.ClusterUpgrade) int {
	switch {
	case ended(u.Status.Conditions):
		return over
	case u.Status.From != nil:
		return running
	}
	return waiting
}

// Summary is one upgrade of a cluster in short.
func Summary(u *v1alpha1.ClusterUpgrade) *hub.UpgradeSummary {
	s := &hub.UpgradeSummary{
		Name: u.Name, UID: u.UID, From: u.Status.From, To: u.Status.To, Version: u.Spec.Version, Step: u.Status.Step,
		DataPlanes: u.Status.DataPlanes, DecommissionRequested: u.Spec.Decommission != nil, Conditions: u.Status.Conditions,
	}
	if d := u.Spec.Decommission; d != nil {
		s.DecommissionRequestedAt = &d.At
	}
	if d := u.Status.Decommission; d != nil {
		s.ScaledDown = d.ScaledDownAt != nil
	}
	// The list is bounded and gateways come first in it, so that these counts are right when there are fewer than a hundred.
	for _, b := range u.Status.Blockers {
		switch {
		case b.Source != v1alpha1.BlockerPod:
		case b.Category == v1alpha1.CategoryIngressGateway:
			s.IngressGateways++
		case b.Category == v1alpha1.CategoryEgressGateway:
			s.EgressGateways++
		}
	}
	return s
}

func ended(conditions []metav1.Condition) bool {
	return meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionReady) ||
		meta.IsStatusConditionTrue(conditions, v1alpha1.ConditionDecommissioned)
}

// Unfinished tells whether the cluster has an upgrade that was accepted and has not reached its end.
func (m Member) Unfinished() bool {
	return m.Upgrade != nil && m.Upgrade.From != nil && !ended(m.Upgrade.Conditions)
}

// Moved tells whether the upgrade that is under way has moved all data planes of its cluster.
func (m Member) Moved() bool {
	return m.Unfinished() && meta.IsStatusConditionTrue(m.Upgrade.Conditions, v1alpha1.ConditionDataPlanesMoved)
}

// allowed tells whether the cluster believes that it may decommission its present upgrade.
func (m Member) allowed() bool {
	return m.Upgrade != nil && m.Link != nil && m.Link.Decommission != nil && m.Link.Decommission.Pass && m.Link.Decommission.UID == m.Upgrade.UID
}

// underWay tells whether the cluster is in the middle of a decommission, in either direction.
func (m Member) underWay() bool {
	if !m.Unfinished() {
		return false
	}
	if m.Upgrade.ScaledDown {
		return true
	}
	c := meta.FindStatusCondition(m.Upgrade.Conditions, v1alpha1.ConditionDecommissioned)
	return c != nil && slices.Contains([]string{
		v1alpha1.ReasonInProgress, v1alpha1.ReasonSoaking, v1alpha1.ReasonAborted, v1alpha1.ReasonError,
	}, c.Reason)
}
