package rollout

import (
	"cmp"
	"slices"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// claimable tells whether a workload whose pod template somebody writes again can be moved forward by a claim instead. On the
// way back a claim is of no use: it cannot take away a label that the template has.
func (d *decider) claimable(w mesh.Workload) bool {
	return d.Inventory.Claimable && d.target == d.To && w.Claim == nil &&
		slices.Contains([]string{mesh.KindDeployment, mesh.KindStatefulSet, mesh.KindDaemonSet}, w.Kind)
}

// claimReverted moves a workload by a claim after somebody reverted its move.
func (d *decider) claimReverted(w mesh.Workload, f *v1alpha1.WorkloadFailure, wanted int32) *Action {
	if known := d.refused(w.Ref, f.Attempt); known != nil && wanted <= known.Attempt {
		d.fail(w, *known)
		return nil
	}
	d.out.Counts.Pending++
	a := d.move(w, d.target, max(wanted, f.Attempt+1))
	a.Method, a.Reverted = ByClaim, true
	d.byClaim(w, a)
	a.Why = "its pod template was written again without the move, " + writer(w)
	return a
}

// byClaim leaves out of a move what would change the workload itself.
func (d *decider) byClaim(w mesh.Workload, a *Action) {
	a.Claims = d.Spec.Upgrade
	a.Surge, a.Lower, a.Pin, a.Record.Pin = false, false, "", ""
	a.Why = w.Foreign
	if w.Claim != nil {
		a.Why = cmp.Or(w.Claim.Why, w.Foreign)
	}
}
