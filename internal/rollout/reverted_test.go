package rollout

import (
	"strings"
	"testing"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// revert writes workload n again as it was before its move, as an operator does; with its annotations when it is thorough.
func (c *simCluster) revert(n int, thorough bool) {
	w := &c.inv.Workloads[n]
	w.TemplateLabels, w.TemplateAnnotations = map[string]string{}, map[string]string{}
	w.Progress.Generation++
	if thorough {
		w.Move = nil
	}
}

func TestARevertedMoveIsReportedAndNotMadeAgainUntilSomebodyRetries(t *testing.T) {
	for name, c := range map[string]struct {
		thorough bool
		// settled tells whether the pods have moved before the revert.
		settled bool
	}{
		"a template is reverted while it moves":            {false, false},
		"a template is reverted after it has moved":        {false, true},
		"the record goes too, before the first pod is new": {true, false},
		"the record goes too, after the pods have moved":   {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			sim, ref := newSim(1, 0), mesh.Ref{Kind: mesh.KindDeployment, Namespace: "a", Name: "w000"}
			sim.inv.Workloads[0].Owner = "Database/w000"
			out := sim.decide(spec(), nil)
			sim.do(out.Actions[0])
			in := Input{Name: "r-" + string(spec().Direction), Spec: spec(), From: oldRev, To: newRev, Inventory: sim.inv, Now: sim.now}
			if c.settled {
				sim.settle(0)
				for m := range sim.inv.Workloads[0].Pods {
					sim.inv.Workloads[0].Pods[m].Labels = map[string]string{v1alpha1.RevisionLabel: newRev}
				}
			} else {
				in.Begun = []v1alpha1.WorkloadProgress{{WorkloadReference: Reference(ref), Attempt: 1}}
			}
			sim.revert(0, c.thorough)
			for range 3 {
				out = Decide(in)
				if len(out.Actions) != 0 || len(out.Failures) != 1 || !out.Undecided {
					t.Fatalf("outcome %+v", out)
				}
				f := out.Failures[0]
				if f.Reason != v1alpha1.FailureReverted || !strings.Contains(f.Message, "by its owner Database/w000") || !strings.Contains(f.Message, "meshlift.dev/revision=1-31") {
					t.Fatalf("failure %+v", f)
				}
				in.Failures, in.Begun = out.Failures, nil
				sim.settle(0) // the pods of the old template are back: only the status remembers
			}
			in.Spec = spec(func(s *v1alpha1.DataPlaneRolloutSpec) {
				s.Decisions = []v1alpha1.WorkloadDecision{{WorkloadReference: Reference(ref), Action: v1alpha1.Retry, Attempt: 2}}
			})
			if out = Decide(in); len(out.Actions) != 1 || out.Actions[0].Record.Attempt != 2 {
				t.Fatalf("a retry does not move it: %+v", out)
			}
		})
	}
}

func TestARevertedMoveThatItsOwnerMakesItselfIsDone(t *testing.T) {
	sim := newSim(1, 0)
	sim.do(sim.decide(spec(), nil).Actions[0])
	sim.revert(0, true)
	sim.settle(0)
	known := []v1alpha1.WorkloadFailure{{WorkloadReference: Reference(sim.inv.Workloads[0].Ref), Attempt: 1, Reason: v1alpha1.FailureReverted}}
	sim.inv.Workloads[0].TemplateLabels[v1alpha1.RevisionLabel] = newRev
	sim.settle(0)
	if out := sim.decide(spec(), known); !out.Complete || out.Counts.Done != 1 || len(out.Failures) != 0 {
		t.Errorf("outcome %+v", out)
	}
}

func TestAnInjectorThatIsGoneForAMomentIsNoRevert(t *testing.T) {
	sim := newSim(1, 0)
	run(t, sim, spec(), first, never)
	back := spec(func(s *v1alpha1.DataPlaneRolloutSpec) { s.Direction = v1alpha1.Back })
	sim.do(sim.decide(back, nil).Actions[0])
	sim.inv.Configurations = nil
	for _, f := range sim.decide(back, nil).Failures {
		t.Errorf("failure %+v", f)
	}
}

// What ADR 0005 admits: a writer that drops the record, whose revert has ended before the agent has told anybody of the
// move, leaves nothing in the cluster that tells it. Each such crash costs one move, and the first move that is told ends it.
func TestAMoveThatLeftNoTraceIsMadeOnceMoreForEachCrashBeforeItWasTold(t *testing.T) {
	for crashes := range 4 {
		sim, ref := newSim(1, 0), mesh.Ref{Kind: mesh.KindDeployment, Namespace: "a", Name: "w000"}
		in := Input{Name: "r", Spec: spec(), From: oldRev, To: newRev, Inventory: sim.inv, Now: sim.now}
		moves := 0
		for pass := range 10 {
			out := Decide(in)
			for _, a := range out.Actions {
				moves++
				sim.do(a)
			}
			if pass >= crashes {
				in.Begun, in.Failures = Decide(in).Moving, out.Failures // told, before the writer comes
			}
			sim.revert(0, true)
			sim.settle(0)
		}
		if out := Decide(in); moves != crashes+1 || len(out.Failures) != 1 || out.Failures[0].Reason != v1alpha1.FailureReverted {
			t.Errorf("after %d crashes %s was moved %d times, failures %+v", crashes, ref, moves, out.Failures)
		}
	}
}

// As long as one pod of the move lives, a crash costs nothing.
func TestAPodOfTheMoveTellsItAfterACrashAlthoughTheRecordIsGone(t *testing.T) {
	sim := newSim(1, 0)
	in := Input{Name: "r", Spec: spec(), From: oldRev, To: newRev, Inventory: sim.inv, Now: sim.now}
	sim.do(Decide(in).Actions[0])
	sim.revert(0, true)
	w := &sim.inv.Workloads[0]
	w.Pods[0].Revision, w.Pods[0].Labels = newRev, map[string]string{v1alpha1.RevisionLabel: newRev}
	if out := Decide(in); len(out.Actions) != 0 || len(out.Failures) != 1 || out.Failures[0].Reason != v1alpha1.FailureReverted {
		t.Errorf("outcome %+v", out)
	}
}
