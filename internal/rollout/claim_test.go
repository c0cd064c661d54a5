package rollout

import (
	"testing"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// claim does what package restart does for a move by claim.
func (c *simCluster) claim(t *testing.T, n int, a Action) {
	t.Helper()
	if a.Method != ByClaim || a.Claims == "" || a.Why == "" || a.Surge || a.Lower || a.Pin != "" || a.Restore || len(a.Evict) > 0 {
		t.Fatalf("action %+v, want the beginning of a move by claim", a)
	}
	w := &c.inv.Workloads[n]
	record := a.Record
	w.Move, w.Claim = &record, &mesh.Claim{Why: a.Why}
	if a.Label {
		w.Claim.Revision = a.Target
	}
}

// replace has the pods of an eviction made again by their controller, as admission would inject them now.
func (c *simCluster) replace(t *testing.T, n int, a Action) {
	t.Helper()
	if len(a.Evict) != 1 || a.Method != ByClaim {
		t.Fatalf("action %+v, want one eviction for a claim", a)
	}
	w := &c.inv.Workloads[n]
	for m := range w.Pods {
		if w.Pods[m].Name == a.Evict[0].Pod {
			w.Pods[m].Name += "x"
			w.Pods[m].UID += "x"
			w.Pods[m].Revision = nextRevision(c.inv, *w)
			w.Pods[m].Attempt = w.NextAttempt()
		}
	}
}

func TestAWorkloadWhoseTemplateIsRevertedIsMovedByAClaimOnePodAtATimeAndBack(t *testing.T) {
	for _, thorough := range []bool{false, true} {
		sim := newSim(1, 0)
		sim.inv.Claimable = true
		ref := sim.inv.Workloads[0].Ref
		out := sim.decide(spec(), nil)
		sim.do(out.Actions[0])
		sim.revert(0, thorough)
		sim.settle(0)
		in := Input{Name: "r-" + string(spec().Direction), Spec: spec(), From: oldRev, To: newRev, Inventory: sim.inv, Now: sim.now}
		in.Begun = []v1alpha1.WorkloadProgress{{WorkloadReference: Reference(ref), Attempt: 1}}
		out = Decide(in)
		if len(out.Actions) != 1 || len(out.Failures) != 0 || out.Undecided {
			t.Fatalf("outcome %+v, want one claim", out)
		}
		if again := Decide(withInventory(in, Expect(sim.inv, out.Actions))); len(again.Actions) != 0 || again.Counts.Moving != 1 {
			t.Fatalf("while the claim is written: %+v", again)
		}
		sim.claim(t, 0, out.Actions[0])
		walk := func(in Input, target string) {
			t.Helper()
			in.Begun = nil
			pods := len(sim.inv.Workloads[0].Pods)
			for n := range pods {
				out := Decide(in)
				if len(out.Actions) != 1 || out.Complete || out.Counts.Moving != 1 {
					t.Fatalf("pod %d of %d: outcome %+v", n, pods, out)
				}
				sim.replace(t, 0, out.Actions[0])
			}
			if out := Decide(in); !out.Complete || out.Counts.Done != 1 || len(out.Actions) != 0 {
				t.Fatalf("outcome %+v, want it on %s", out, target)
			}
		}
		walk(in, newRev)
		back := in
		back.Name, back.Spec = "back", spec(func(s *v1alpha1.DataPlaneRolloutSpec) { s.Direction = v1alpha1.Back })
		out = Decide(back)
		if len(out.Actions) != 1 || out.Actions[0].Label {
			t.Fatalf("the way back: %+v", out)
		}
		sim.claim(t, 0, out.Actions[0])
		walk(back, oldRev)
	}
}

func withInventory(in Input, inv *mesh.Inventory) Input {
	in.Inventory = inv
	return in
}

func TestAClaimThatIsRefusedIsNotMadeAgainUntilSomebodyRetries(t *testing.T) {
	sim := newSim(1, 0)
	sim.inv.Claimable = true
	ref := sim.inv.Workloads[0].Ref
	sim.do(sim.decide(spec(), nil).Actions[0])
	sim.revert(0, false)
	sim.settle(0)
	known := []v1alpha1.WorkloadFailure{{WorkloadReference: Reference(ref), Attempt: 2, Reason: v1alpha1.FailureRehearsal, Message: "quota"}}
	out := sim.decide(spec(), known)
	if len(out.Actions) != 0 || len(out.Failures) != 1 || out.Failures[0].Message != "quota" {
		t.Fatalf("outcome %+v, want the refusal", out)
	}
	out = sim.decide(spec(func(s *v1alpha1.DataPlaneRolloutSpec) {
		s.Decisions = []v1alpha1.WorkloadDecision{{WorkloadReference: Reference(ref), Action: v1alpha1.Retry, Attempt: 3}}
	}), known)
	if len(out.Actions) != 1 || out.Actions[0].Method != ByClaim || out.Actions[0].Record.Attempt != 3 {
		t.Fatalf("outcome %+v, want the claim again", out)
	}
}

func TestARolloutOfArgoIsMovedByAClaimOrSaysWhyItCannotBe(t *testing.T) {
	sim := newSim(1, 0)
	sim.inv.Workloads[0].Kind = mesh.KindRollout
	sim.inv.Workloads[0].Foreign = "a change of its pod template would start its canary steps"
	if out := sim.decide(spec(), nil); len(out.Actions) != 0 || out.Counts.Skipped != 1 || len(out.Warnings) == 0 {
		t.Errorf("without admission policies: %+v", out)
	}
	sim.inv.Claimable = true
	out := sim.decide(spec(), nil)
	if len(out.Actions) != 1 {
		t.Fatalf("outcome %+v", out)
	}
	sim.claim(t, 0, out.Actions[0])
}
