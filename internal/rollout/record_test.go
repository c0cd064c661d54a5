package rollout

import (
	"math"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// The record of a move is an annotation: whoever may change the workload can write anything there.

func TestARecordThatBeginsInTheFutureDoesNotHoldTheRolloutForEver(t *testing.T) {
	c := newSim(1, 0)
	w := &c.inv.Workloads[0]
	w.TemplateLabels[v1alpha1.RevisionLabel] = newRev
	w.Move = &mesh.Move{To: newRev, From: oldRev, Rollout: "r", Attempt: 1, Started: c.now.Add(24 * time.Hour)}
	out := Decide(Input{Name: "r", From: oldRev, To: newRev, Spec: spec(), Inventory: c.inv, Now: c.now})
	if len(out.Failures) != 1 || !strings.Contains(out.Failures[0].Message, "in the future") {
		t.Errorf("failures %+v", out.Failures)
	}
	w.Move.Started = c.now.Add(10 * time.Second) // written by an agent whose clock is ahead
	if out = Decide(Input{Name: "r", From: oldRev, To: newRev, Spec: spec(), Inventory: c.inv, Now: c.now}); out.Counts.Moving != 1 {
		t.Errorf("a clock that is ahead by seconds: %+v", out)
	}
}

func TestAttemptsNeverOverflow(t *testing.T) {
	c := newSim(2, 0)
	c.inv.Workloads[0].Move = &mesh.Move{To: newRev, From: oldRev, Rollout: "another", Attempt: math.MaxInt32}
	c.inv.Workloads[1].Move = &mesh.Move{To: oldRev, From: newRev, Rollout: "r", Attempt: math.MinInt32}
	out := Decide(Input{
		Name: "r", From: oldRev, To: newRev, Inventory: c.inv, Now: c.now, Spec: spec(func(s *v1alpha1.DataPlaneRolloutSpec) {
			s.Decisions = []v1alpha1.WorkloadDecision{{WorkloadReference: Reference(c.inv.Workloads[1].Ref), Action: v1alpha1.Retry, Attempt: math.MaxInt32}}
		}),
	})
	if len(out.Actions) != 2 {
		t.Fatalf("%d actions", len(out.Actions))
	}
	for _, a := range out.Actions {
		if a.Record.Attempt < 1 || a.Record.Attempt > mesh.MaxAttempt {
			t.Errorf("%s: attempt %d", a.Ref, a.Record.Attempt)
		}
	}
}

func TestAPodOfNobodyIsNotMovedBack(t *testing.T) {
	c := newSim(0, 0)
	c.inv.LoosePods = []mesh.LoosePod{{Pod: mesh.Pod{Name: "alone", Revision: newRev}, Namespace: "a"}}
	back := spec(func(s *v1alpha1.DataPlaneRolloutSpec) {
		s.Decisions = []v1alpha1.WorkloadDecision{{WorkloadReference: v1alpha1.WorkloadReference{Kind: "Pod", Namespace: "a", Name: "alone"}, Action: v1alpha1.MoveBack, Attempt: 1}}
	})
	out := Decide(Input{Name: "r", From: oldRev, To: newRev, Spec: back, Inventory: c.inv, Now: c.now})
	if len(out.Actions) > 0 || !out.Complete {
		t.Errorf("actions %+v, complete %t", out.Actions, out.Complete)
	}
}

func TestTheStrategyAnnotationOnWhatIsNeverSurgedIsNotWaitedFor(t *testing.T) {
	c := newSim(1, 0)
	w := &c.inv.Workloads[0]
	w.Kind = mesh.KindDaemonSet
	c.roll(0, newRev)
	w.TemplateLabels[v1alpha1.RevisionLabel] = newRev
	w.Annotations[v1alpha1.StrategyAnnotation] = "{}"
	if out := Decide(Input{Name: "r", From: oldRev, To: newRev, Spec: spec(), Inventory: c.inv, Now: c.now}); !out.Complete {
		t.Errorf("not complete: %+v", out)
	}
}

func TestARecordOfTheFutureDoesNotMakeAWaveSoakForEver(t *testing.T) {
	c := newSim(2, 0)
	c.roll(0, newRev)
	first := &c.inv.Workloads[0]
	first.TemplateLabels[v1alpha1.RevisionLabel] = newRev
	first.Move = &mesh.Move{To: newRev, From: oldRev, Rollout: "r", Attempt: 1, Started: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}
	s := spec(func(s *v1alpha1.DataPlaneRolloutSpec) {
		s.Waves = []v1alpha1.Wave{{
			Name: "canary", Soak: &metav1.Duration{Duration: time.Minute},
			Targets: []v1alpha1.RolloutTarget{{Kind: first.Kind, Namespace: first.Namespace, Name: first.Name}},
		}}
	})
	out := Decide(Input{Name: "r", From: oldRev, To: newRev, Spec: s, Inventory: c.inv, Now: c.now})
	if out.Held != "" || len(out.Actions) != 1 {
		t.Errorf("held %q, %d actions", out.Held, len(out.Actions))
	}
}
