package rollout

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/health"
)

// gatedRun drives a rollout with health gates of which verdict speaks, as the controller does, until nothing more happens.
func gatedRun(t *testing.T, c *simCluster, s v1alpha1.DataPlaneRolloutSpec, verdict func(health.Subject) health.Verdict) (last Outcome) {
	t.Helper()
	var failures []v1alpha1.WorkloadFailure
	for range 200 {
		in := Input{Name: "r", Spec: s, Failures: failures, From: oldRev, To: newRev, Inventory: c.inv, Now: c.now}
		for _, subject := range Subjects(in) {
			v := verdict(subject)
			v.Key = subject.Key
			in.Verdicts = append(in.Verdicts, v)
		}
		last = Decide(in)
		failures = last.Failures
		for _, a := range last.Actions {
			c.do(a)
		}
		for _, n := range c.inMotion() {
			c.settle(n)
		}
		if len(last.Actions) == 0 && (last.Complete || last.Undecided) && last.Again.IsZero() {
			return last
		}
	}
	return last
}

func gatedSpec(action v1alpha1.HealthAction) v1alpha1.DataPlaneRolloutSpec {
	return spec(func(s *v1alpha1.DataPlaneRolloutSpec) {
		s.Parallelism, s.FailurePolicy = new(int32(1)), v1alpha1.FailureContinue
		s.Health = &v1alpha1.Health{OnFailure: action}
	})
}

var nothing metav1.Duration

func failing(name string) func(health.Subject) health.Verdict {
	return func(s health.Subject) health.Verdict {
		if s.Ref.Name == name {
			return health.Verdict{State: health.Fail, Gate: health.GateSync, Reason: v1alpha1.FailureRejected, Message: name + " rejected it", Seen: []string{"Listener: no"}}
		}
		return health.Verdict{State: health.Pass}
	}
}

func TestAWorkloadThatAGateStopsIsMovedBackAndNoFurtherOneIsTouchedWhateverTheFailurePolicySays(t *testing.T) {
	c := newSim(4, 1)
	out := gatedRun(t, c, gatedSpec(v1alpha1.HealthMoveBack), failing("w001"))
	if !out.Undecided || out.Counts.Done != 1 || out.Counts.Failed != 1 || out.Counts.Pending != 3 {
		t.Fatalf("undecided %v, %+v", out.Undecided, out.Counts)
	}
	f := out.Failures[0]
	if f.Reason != v1alpha1.FailureMovedBack || f.Gate == nil || f.Gate.Gate != health.GateSync || len(f.Gate.Seen) != 1 || !strings.Contains(f.Message, "w001 rejected it") {
		t.Errorf("the failure %+v does not tell what the gate saw", f)
	}
	for _, w := range c.inv.Workloads {
		want := map[string]int{"w000": 1, "w001": 2}[w.Name]
		if c.restarts[w.Ref] != want || (w.Name != "w000") != w.Uses(oldRev) {
			t.Errorf("%s was restarted %d times, want %d", w.Ref, c.restarts[w.Ref], want)
		}
	}
}

func TestAWorkloadThatAGateStopsStaysWhereItIsWhenTheGatePauses(t *testing.T) {
	c := newSim(3, 0)
	out := gatedRun(t, c, gatedSpec(v1alpha1.HealthPause), failing("w000"))
	if !out.Undecided || out.Failures[0].Reason != v1alpha1.FailureRejected || len(c.restarts) != 1 || !c.inv.Workloads[0].Uses(newRev) {
		t.Errorf("%+v, restarts %v", out, c.restarts)
	}
	again := Decide(Input{Name: "r", Spec: gatedSpec(v1alpha1.HealthPause), Failures: out.Failures, From: oldRev, To: newRev, Inventory: c.inv, Now: c.now})
	if len(again.Failures) != 1 || len(again.Actions) != 0 {
		t.Errorf("what a gate has stopped is forgotten: %+v", again)
	}
}

func TestAWorkloadMovesUntilTheGatesLetItPassHoweverLongThatTakes(t *testing.T) {
	c := newSim(2, 0)
	s := gatedSpec("")
	waiting := gatedRun(t, c, s, func(health.Subject) health.Verdict {
		return health.Verdict{State: health.Wait, Message: "0 of 2 in sync"}
	})
	if waiting.Counts.Moving != 1 || waiting.Counts.Pending != 1 || waiting.Again.IsZero() || !strings.Contains(waiting.Moving[0].Message, "2 of 2 pods ready on 1-31; 0 of 2 in sync") {
		t.Fatalf("%+v", waiting)
	}
	c.now = c.now.Add(24 * 3600e9)
	out := gatedRun(t, c, s, func(health.Subject) health.Verdict { return health.Verdict{State: health.Pass} })
	if !out.Complete || out.Counts.Done != 2 {
		t.Errorf("a day later, when the gates let it pass: %+v", out.Counts)
	}
}

func TestARetryOfWhatAGateStoppedIsLookedAtAnew(t *testing.T) {
	c := newSim(1, 0)
	s := gatedSpec(v1alpha1.HealthMoveBack)
	out := gatedRun(t, c, s, failing("w000"))
	s.Decisions = []v1alpha1.WorkloadDecision{{WorkloadReference: out.Failures[0].WorkloadReference, Action: v1alpha1.Retry, Attempt: out.Failures[0].Attempt + 1}}
	if out = gatedRun(t, c, s, failing("")); !out.Complete || out.Counts.Done != 1 || c.restarts[c.inv.Workloads[0].Ref] != 3 {
		t.Errorf("%+v, restarts %v", out.Counts, c.restarts)
	}
}

func TestWithoutGatesAndOnTheWayBackNobodyIsLookedAt(t *testing.T) {
	c := newSim(2, 0)
	run(t, c, spec(), first, never)
	plain, back, off := spec(), gatedSpec(""), gatedSpec("")
	back.Direction, off.Health.SyncDeadline = v1alpha1.Back, &nothing
	for name, s := range map[string]v1alpha1.DataPlaneRolloutSpec{"plain": plain, "back": back, "off": off} {
		in := Input{Name: "r-" + string(v1alpha1.Forward), Spec: s, From: oldRev, To: newRev, Inventory: c.inv, Now: c.now}
		if got := Subjects(in); len(got) != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
	in := Input{Name: "r-" + string(v1alpha1.Forward), Spec: gatedSpec(""), From: oldRev, To: newRev, Inventory: c.inv, Now: c.now}
	if got := Subjects(in); len(got) != 2 || len(got[0].Pods) != 2 || !got[0].Settled {
		t.Errorf("with gates: %v", got)
	}
	c.inv.Workloads[0].Annotations = map[string]string{v1alpha1.HealthAnnotation: v1alpha1.HealthOff}
	if got := Subjects(in); len(got) != 1 {
		t.Errorf("one is left out: %v", got)
	}
}
