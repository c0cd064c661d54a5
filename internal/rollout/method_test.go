package rollout

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// asKind turns workload n of the simulation into one of another kind.
func (c *simCluster) asKind(n int, kind, strategy string) *mesh.Workload {
	w := &c.inv.Workloads[n]
	w.Kind, w.Strategy = kind, mesh.Strategy{Type: strategy}
	for m := range w.Pods {
		w.Pods[m].UID = fmt.Sprintf("%s-%d", w.Name, m)
	}
	return w
}

// labelled has the pod template of a workload ask for the new revision, with the pods as they were.
func labelled(w *mesh.Workload) {
	w.TemplateLabels[v1alpha1.RevisionLabel] = newRev
	w.Move = &mesh.Move{To: newRev, From: oldRev, Attempt: 1, Rollout: "r-Forward"}
}

func TestPodsThatTheirControllerDoesNotReplaceAreEvictedOneAfterTheOther(t *testing.T) {
	ready := func(rev string) mesh.Pod { return mesh.Pod{Revision: rev, Ready: true} }
	unready := func(rev string) mesh.Pod { return mesh.Pod{Revision: rev} }
	ending := mesh.Pod{Revision: oldRev, Ready: true, Terminating: true}
	for name, c := range map[string]struct {
		kind      string
		pods      []mesh.Pod
		available int32
		want      string
	}{
		"a StatefulSet from its highest ordinal":          {mesh.KindStatefulSet, []mesh.Pod{ready(oldRev), ready(oldRev), ready(oldRev)}, 3, "p-2"},
		"a StatefulSet down":                              {mesh.KindStatefulSet, []mesh.Pod{ready(oldRev), ready(oldRev), ready(newRev)}, 3, "p-1"},
		"nothing while the new pod is not ready":          {mesh.KindStatefulSet, []mesh.Pod{ready(oldRev), ready(oldRev), unready(newRev)}, 2, ""},
		"nothing while an old pod is ending":              {mesh.KindDaemonSet, []mesh.Pod{ready(oldRev), ready(oldRev), ending}, 2, ""},
		"nothing while the new pod is ready but not long": {mesh.KindDaemonSet, []mesh.Pod{ready(oldRev), ready(oldRev), ready(newRev)}, 2, ""},
		"an old pod that serves nobody goes first":        {mesh.KindReplicaSet, []mesh.Pod{ready(oldRev), unready(oldRev), ready(oldRev)}, 2, "p-1"},
		"nothing when all have moved":                     {mesh.KindReplicaSet, []mesh.Pod{ready(newRev), ready(newRev), ready(newRev)}, 3, ""},
		"nothing of what its controller replaces itself":  {mesh.KindDeployment, []mesh.Pod{ready(oldRev), ready(oldRev), ready(oldRev)}, 3, ""},
	} {
		sim := newSim(1, 0)
		w := sim.asKind(0, c.kind, onDelete)
		labelled(w)
		w.Desired, w.Progress.Available, w.Pods = 3, c.available, nil
		for n, p := range c.pods {
			p.Name, p.UID = fmt.Sprintf("p-%d", n), fmt.Sprint(n)
			w.Pods = append(w.Pods, p)
		}
		got := ""
		for _, e := range Evictions(sim.inv, *w, newRev) {
			got += e.Pod
		}
		if got != c.want {
			t.Errorf("%s: %q is evicted, want %q", name, got, c.want)
		}
	}
}

func TestEvictionsNeverTakeTwoPodsAndEndWithEveryPodOnTheTarget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sim := newSim(1, 0)
		w := sim.asKind(0, rapid.SampledFrom([]string{mesh.KindStatefulSet, mesh.KindDaemonSet, mesh.KindReplicaSet}).Draw(t, "kind"), onDelete)
		labelled(w)
		w.Desired, w.Pods = int32(rapid.IntRange(1, 6).Draw(t, "pods")), nil
		for n := range w.Desired {
			w.Pods = append(w.Pods, mesh.Pod{Name: fmt.Sprintf("p-%d", n), UID: fmt.Sprint(n), Revision: oldRev, Ready: true})
		}
		w.Progress.Available = w.Desired
		evicted := map[string]bool{}
		for step := 0; step < 100; step++ {
			down := slices.IndexFunc(w.Pods, func(p mesh.Pod) bool { return !p.Ready })
			evictions := Evictions(sim.inv, *w, newRev)
			if down >= 0 {
				if len(evictions) > 0 {
					t.Fatalf("%v is evicted while %s is not ready", evictions, w.Pods[down].Name)
				}
				w.Pods[down].Ready = true
				w.Progress.Available++
				continue
			}
			if len(evictions) == 0 {
				break
			}
			if len(evictions) > 1 || evicted[evictions[0].UID] {
				t.Fatalf("evicted again or several at once: %v", evictions)
			}
			evicted[evictions[0].UID] = true
			n := slices.IndexFunc(w.Pods, func(p mesh.Pod) bool { return p.UID == evictions[0].UID })
			w.Pods[n] = mesh.Pod{Name: w.Pods[n].Name, UID: "new-" + w.Pods[n].UID, Revision: newRev}
			w.Progress.Available--
		}
		if len(evicted) != int(w.Desired) || w.Uses(oldRev) {
			t.Fatalf("%d of %d pods were evicted", len(evicted), w.Desired)
		}
	})
}

func TestAChangeThatTheOwnerHoldsBackIsNotShippedByAMove(t *testing.T) {
	for name, c := range map[string]struct {
		kind, strategy string
		partition      int32
		words          string
	}{
		"by a partition":            {mesh.KindStatefulSet, "RollingUpdate", 1, "set the partition to 0"},
		"by OnDelete":               {mesh.KindStatefulSet, onDelete, 0, "delete those pods or take the change back"},
		"by OnDelete of DaemonSets": {mesh.KindDaemonSet, onDelete, 0, "delete those pods or take the change back"},
	} {
		sim := newSim(1, 0)
		w := sim.asKind(0, c.kind, c.strategy)
		w.Strategy.Partition = c.partition
		w.Progress.Behind = true
		out := sim.decide(spec(), nil)
		if len(out.Actions) != 0 || len(out.Failures) != 1 || out.Failures[0].Reason != v1alpha1.FailureHeldBack || !strings.Contains(out.Failures[0].Message, c.words) {
			t.Errorf("%s: %+v", name, out)
		}
		w.Progress.Behind = false
		if out := sim.decide(spec(), nil); len(out.Actions) != 1 || out.Actions[0].Lower != (c.partition > 0) {
			t.Errorf("%s, when nothing is held back: %+v", name, out)
		}
	}
}

func TestAPartitionIsGivenBackWhenTheMoveIsOver(t *testing.T) {
	sim := newSim(1, 0)
	w := sim.asKind(0, mesh.KindStatefulSet, "RollingUpdate")
	labelled(w)
	sim.roll(0, newRev)
	w.Annotations[v1alpha1.StrategyAnnotation] = `{"rollingUpdate":{"partition":1}}`
	out := sim.decide(spec(), nil)
	if len(out.Actions) != 1 || !out.Actions[0].Restore || out.Complete {
		t.Errorf("%+v", out)
	}
}

func TestASkippedWorkloadGetsItsStrategyBack(t *testing.T) {
	sim := newSim(1, 0)
	w := sim.asKind(0, mesh.KindStatefulSet, "RollingUpdate")
	labelled(w)
	w.Annotations[v1alpha1.StrategyAnnotation] = `{"rollingUpdate":{"partition":1}}`
	out := sim.decide(spec(func(s *v1alpha1.DataPlaneRolloutSpec) {
		s.Decisions = []v1alpha1.WorkloadDecision{{WorkloadReference: Reference(w.Ref), Action: v1alpha1.Skip}}
	}), nil)
	if len(out.Actions) != 1 || !out.Actions[0].Restore {
		t.Errorf("%+v", out.Actions)
	}
}

func TestBarePodsAndReplicaSetsAreTouchedOnlyWhenTheyAreNamed(t *testing.T) {
	sim := newSim(1, 0)
	w := sim.asKind(0, mesh.KindReplicaSet, "")
	sim.inv.LoosePods = []mesh.LoosePod{{Pod: mesh.Pod{Name: "lonely", UID: "7", Revision: oldRev, Ready: true}, Namespace: "a", Role: mesh.Sidecar}}
	out := sim.decide(spec(), nil)
	if len(out.Actions) != 0 || out.Counts.Skipped != 2 || len(out.Warnings) != 2 || !out.Complete {
		t.Errorf("not named: %+v", out)
	}
	named := func(kind, name string) Outcome {
		return sim.decide(spec(func(s *v1alpha1.DataPlaneRolloutSpec) {
			s.Targets = []v1alpha1.RolloutTarget{{Namespace: "a", Kind: kind, Name: name}}
		}), nil)
	}
	if out := named(mesh.KindReplicaSet, w.Name); len(out.Actions) != 1 || !out.Actions[0].Label || out.Actions[0].Method != ByTemplateAndEviction {
		t.Errorf("the ReplicaSet is named: %+v", out)
	}
	out = named(mesh.KindPod, "lonely")
	if len(out.Actions) != 1 || out.Actions[0].Method != ByEviction || !cmp.Equal(out.Actions[0].Evict, []Eviction{{Pod: "lonely", UID: "7"}}) || out.Complete {
		t.Errorf("the pod is named: %+v", out)
	}
	sim.inv.LoosePods = nil
	if out := named(mesh.KindPod, "lonely"); len(out.Actions) != 0 || !out.Complete {
		t.Errorf("the pod is gone: %+v", out)
	}
}

func TestAWorkloadWithoutPodsIsMovedForTheNextOne(t *testing.T) {
	for _, kind := range []string{mesh.KindDeployment, mesh.KindStatefulSet, mesh.KindCronJob} {
		sim := newSim(1, 0)
		w := sim.asKind(0, kind, "RollingUpdate")
		w.Desired, w.Pods, w.Progress = 0, nil, mesh.Progress{}
		out := sim.decide(spec(), nil)
		if len(out.Actions) != 1 || !out.Actions[0].Label {
			t.Errorf("%s: %+v", kind, out)
			continue
		}
		labelled(w)
		if out := sim.decide(spec(), nil); out.Counts.Done != 1 || !out.Complete {
			t.Errorf("%s, labelled: %+v", kind, out)
		}
	}
}

func TestAWorkloadThatWasNeverInjectedIsNoDataPlane(t *testing.T) {
	sim := newSim(1, 0)
	for n := range sim.inv.Workloads[0].Pods {
		sim.inv.Workloads[0].Pods[n].Revision = ""
	}
	if items := Plan(sim.inv, oldRev, newRev, v1alpha1.Forward); len(items) != 0 {
		t.Errorf("%+v", items)
	}
}

func TestAnEvictionUnderWayIsNotDecidedAgain(t *testing.T) {
	sim := newSim(1, 0)
	w := sim.asKind(0, mesh.KindStatefulSet, onDelete)
	labelled(w)
	w.Move.Started = sim.now
	sim.inv.LoosePods = []mesh.LoosePod{{Pod: mesh.Pod{Name: "lonely", UID: "7", Revision: oldRev, Ready: true}, Namespace: "a", Role: mesh.Sidecar}}
	targets := spec(func(s *v1alpha1.DataPlaneRolloutSpec) {
		s.Targets = []v1alpha1.RolloutTarget{{Namespace: "a", Kind: w.Kind, Name: w.Name}, {Namespace: "a", Kind: mesh.KindPod, Name: "lonely"}}
	})
	out := sim.decide(targets, nil)
	if len(out.Actions) != 2 || len(out.Actions[0].Evict) != 1 || len(out.Actions[1].Evict) != 1 {
		t.Fatalf("%+v", out.Actions)
	}
	before := *sim.inv
	sim.inv = Expect(sim.inv, out.Actions)
	if again := sim.decide(targets, nil); len(again.Actions) != 0 {
		t.Errorf("%+v", again.Actions)
	}
	for _, a := range out.Actions {
		if Seen(&before, a) || !Seen(sim.inv, a) {
			t.Errorf("%s: seen before it happened, or not after", a.Ref)
		}
	}
}
