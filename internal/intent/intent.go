// Package intent writes what a person wants into the objects of Meshlift, in the same way for the command line and the API.
// It is pure; each function can be repeated, and returns false when there is nothing to change.
package intent

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
)

// Decide puts one decision into the spec in the place of an earlier one about the same workload. A retry asks for the
// attempt after the one that failed.
func Decide(r *v1alpha1.DataPlaneRollout, f v1alpha1.WorkloadFailure, action v1alpha1.Decision) bool {
	d := v1alpha1.WorkloadDecision{WorkloadReference: f.WorkloadReference, Action: action}
	if action == v1alpha1.Retry {
		d.Attempt = f.Attempt + 1
	}
	for n, old := range r.Spec.Decisions {
		if old.WorkloadReference != f.WorkloadReference {
			continue
		}
		if old == d || action == v1alpha1.Retry && old.Action == action && old.Attempt > d.Attempt {
			return false
		}
		r.Spec.Decisions[n] = d
		return true
	}
	r.Spec.Decisions = append(r.Spec.Decisions, d)
	return true
}

// NextRollout is a name for another rollout of the upgrade: "1-30-to-1-31-r3" after "…-r2".
func NextRollout(upgrade string, rollouts []v1alpha1.DataPlaneRollout) string {
	last := 0
	for _, r := range rollouts {
		var n int
		if _, err := fmt.Sscanf(strings.TrimPrefix(r.Name, upgrade), "-r%d", &n); err == nil {
			last = max(last, n)
		}
	}
	return fmt.Sprintf("%s-r%d", upgrade, last+1)
}

// RequestedBy records who asked for an object that is about to be made.
func RequestedBy(o metav1.Object, by string) {
	annotations := map[string]string{v1alpha1.RequestedByAnnotation: by}
	maps.Copy(annotations, o.GetAnnotations())
	o.SetAnnotations(annotations)
}

// Acknowledge records that the EnvoyFilter was checked as the agent saw it last. It returns false when the present content is acknowledged already and no note is added.
func Acknowledge(u *v1alpha1.ClusterUpgrade, f v1alpha1.EnvoyFilterStatus, by string, at metav1.Time, note string) bool {
	ack := v1alpha1.EnvoyFilterAcknowledgement{Namespace: f.Namespace, Name: f.Name, Hash: f.Hash, By: by, At: at, Note: note}
	for n, old := range u.Spec.EnvoyFilters {
		if old.Namespace != f.Namespace || old.Name != f.Name {
			continue
		}
		if old.Hash == f.Hash && (note == "" || note == old.Note) {
			return false
		}
		u.Spec.EnvoyFilters[n] = ack
		return true
	}
	u.Spec.EnvoyFilters = append(u.Spec.EnvoyFilters, ack)
	return true
}

// Upgradeable tells whether an upgrade of a component can be asked for.
func Upgradeable(phase hub.ComponentPhase) bool {
	return phase == hub.ComponentUpgradeable || phase == hub.ComponentFailed || phase == hub.ComponentUpgrading
}

// Request writes the requests for upgrades of components. What is under way to the same version already is only waited for. It returns
// when each was asked for.
func Request(m *hub.MemberCluster, rows []hub.ComponentStatus, by string, at metav1.Time) map[string]metav1.Time {
	asked := map[string]metav1.Time{}
	for _, r := range rows {
		n := slices.IndexFunc(m.Spec.Components, func(q hub.ComponentRequest) bool { return q.Name == r.Name })
		if n >= 0 && r.Phase == hub.ComponentUpgrading && m.Spec.Components[n].Version == r.Offered {
			asked[r.Name] = m.Spec.Components[n].At
			continue
		}
		q := hub.ComponentRequest{Name: r.Name, Version: r.Offered, By: by, At: at}
		if n >= 0 {
			if before := m.Spec.Components[n].At; !before.Before(&at) {
				q.At = metav1.NewTime(before.Add(time.Second)) // a clock that is behind, or a command within the same second
			}
			m.Spec.Components[n] = q
		} else {
			m.Spec.Components = append(m.Spec.Components, q)
		}
		asked[r.Name] = q.At
	}
	return asked
}

// Acknowledgement is the record that somebody checked that content of an EnvoyFilter; nil when nobody did.
func Acknowledgement(u *v1alpha1.ClusterUpgrade, namespace, name, hash string) *v1alpha1.EnvoyFilterAcknowledgement {
	n := slices.IndexFunc(u.Spec.EnvoyFilters, func(a v1alpha1.EnvoyFilterAcknowledgement) bool {
		return a.Namespace == namespace && a.Name == name && a.Hash == hash
	})
	if n < 0 {
		return nil
	}
	return &u.Spec.EnvoyFilters[n]
}

// Set brings a switch, such as spec.paused, to a value.
func Set(field *bool, to bool) bool {
	changed := *field != to
	*field = to
	return changed
}

// Decommission asks for the removal of an old istiod; an earlier request stays as it is.
func Decommission(field **v1alpha1.DecommissionRequest, by string, at metav1.Time, soak metav1.Duration) bool {
	if *field != nil {
		return false
	}
	*field = &v1alpha1.DecommissionRequest{By: by, At: at, Soak: soak}
	return true
}

// Withdraw takes the request for a removal back.
func Withdraw(field **v1alpha1.DecommissionRequest) bool {
	changed := *field != nil
	*field = nil
	return changed
}

// Approve lets a wave start; the first approval counts.
func Approve(u *hub.MeshUpgrade, wave, by string, at metav1.Time) bool {
	if slices.ContainsFunc(u.Spec.Approvals, func(a hub.Approval) bool { return a.Wave == wave }) {
		return false
	}
	u.Spec.Approvals = append(u.Spec.Approvals, hub.Approval{Wave: wave, By: by, At: at})
	return true
}

// ClusterUpgrade is the name of an upgrade of a cluster that nobody named: "1-30-to-1-31".
func ClusterUpgrade(from, to string) string { return from + "-to-" + to }

// MeshUpgrade is the name of an upgrade of a mesh that nobody named: "prod-to-1-31".
func MeshUpgrade(mesh, version string) string {
	return mesh + "-to-" + strings.ReplaceAll(version, ".", "-")
}
