package rollout

import (
	"testing"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// Found by random faults (delete-namespace): the rehearsal is refused there, and the rollout waited for a person.
func TestWhatIsInANamespaceThatIsBeingDeletedIsNotTouchedAndHoldsNobodyUp(t *testing.T) {
	c := newSim(3, 0)
	c.inv.Namespaces["b"] = mesh.Namespace{Labels: map[string]string{mesh.LabelRev: oldRev}, Terminating: true}
	going := c.inv.Workloads[0]
	going.Namespace = "b"
	c.inv.Workloads = append(c.inv.Workloads, going)
	refused := []v1alpha1.WorkloadFailure{{WorkloadReference: Reference(going.Ref), Attempt: 1, Reason: v1alpha1.FailureRehearsal, Message: "it is being terminated"}}
	out := c.decide(spec(), refused)
	for _, a := range out.Actions {
		if a.Ref == going.Ref {
			t.Errorf("%s is moved", a.Ref)
		}
	}
	if out.Undecided || len(out.Failures) > 0 || len(out.Actions) != 3 || out.Counts.Skipped != 1 {
		t.Errorf("undecided %t, failures %v, %d actions, %+v", out.Undecided, out.Failures, len(out.Actions), out.Counts)
	}
}
