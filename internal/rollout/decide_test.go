package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

func spec(change ...func(*v1alpha1.DataPlaneRolloutSpec)) v1alpha1.DataPlaneRolloutSpec {
	s := v1alpha1.DataPlaneRolloutSpec{Upgrade: "u", Direction: v1alpha1.Forward, Parallelism: new(int32(3)), FailurePolicy: v1alpha1.FailureStop, Timeout: metav1.Duration{Duration: 10 * time.Minute}}
	for _, f := range change {
		f(&s)
	}
	return s
}

// run drives a rollout to its end; crash says at which passes the actions are lost half-way, as by a SIGKILL.
func run(t interface{ Fatalf(string, ...any) }, c *simCluster, s v1alpha1.DataPlaneRolloutSpec, pick func(label string, n int) int, crash func() bool) Outcome {
	var failures []v1alpha1.WorkloadFailure
	for range 2000 {
		out := c.decide(s, failures)
		moving := int32(len(c.inMotion()))
		for _, a := range out.Actions {
			if !a.Restore && a.Label && moving+1 > *s.Parallelism {
				t.Fatalf("%s would be the %dth in motion, parallelism is %d", a.Ref, moving+1, *s.Parallelism)
			}
			if crash() {
				break
			}
			c.do(a)
			if !a.Restore {
				moving++
			}
		}
		if !crash() {
			failures = out.Failures
		}
		if m := c.inMotion(); len(m) > 0 {
			c.settle(m[pick("next to settle", len(m))])
			continue
		}
		if out.Complete || out.Undecided && len(out.Actions) == 0 {
			return out
		}
	}
	t.Fatalf("the rollout does not end")
	return Outcome{}
}

func never() bool { return false }

func first(string, int) int { return 0 }

func TestARolloutEndsWithEverythingMovedOnceWhateverIsLostInCrashes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newSim(rapid.IntRange(0, 12).Draw(t, "workloads"), rapid.IntRange(0, 3).Draw(t, "gateways"))
		s := spec(func(s *v1alpha1.DataPlaneRolloutSpec) {
			s.Parallelism = new(int32(rapid.IntRange(1, 5).Draw(t, "parallelism")))
		})
		pick := func(label string, n int) int { return rapid.IntRange(0, n-1).Draw(t, label) }
		crash := func() bool { return rapid.IntRange(0, 3).Draw(t, "crash") == 0 }
		out := run(t, c, s, pick, crash)
		if out.Counts.Done != out.Counts.Total || int(out.Counts.Total) != len(c.inv.Workloads) {
			t.Fatalf("counts %+v of %d", out.Counts, len(c.inv.Workloads))
		}
		for ref, n := range c.restarts {
			if n != 1 {
				t.Fatalf("%s was restarted %d times for one move", ref, n)
			}
		}
	})
}

func TestForwardThenBackRestoresEveryTemplate(t *testing.T) {
	c := newSim(4, 1)
	run(t, c, spec(), first, never)
	out := run(t, c, spec(func(s *v1alpha1.DataPlaneRolloutSpec) { s.Direction = v1alpha1.Back }), first, never)
	if out.Counts.Done != 5 {
		t.Errorf("moved back: %+v", out.Counts)
	}
	for _, w := range c.inv.Workloads {
		if len(w.TemplateLabels) != 0 || len(w.TemplateAnnotations) != 0 || !w.Uses(oldRev) || w.Uses(newRev) {
			t.Errorf("%s after moving back: labels %v, annotations %v, pods %v", w.Ref, w.TemplateLabels, w.TemplateAnnotations, w.Pods)
		}
	}
}

func TestDecidingAgainAfterTheActionsTookEffectAddsNothing(t *testing.T) {
	c := newSim(6, 0)
	for _, a := range c.decide(spec(), nil).Actions {
		c.do(a)
	}
	if again := c.decide(spec(), nil); len(again.Actions) != 0 || again.Counts.Moving != 3 {
		t.Errorf("second decision: %d actions, %+v", len(again.Actions), again.Counts)
	}
}

func TestGatewaysMoveAfterSidecars(t *testing.T) {
	c := newSim(2, 2)
	var order []string
	for _, i := range Plan(c.inv, oldRev, newRev, v1alpha1.Forward) {
		order = append(order, i.Ref.Name)
	}
	if diff := cmp.Diff([]string{"w000", "w001", "gw002", "gw003"}, order); diff != "" {
		t.Error(diff)
	}
}

func stuckAt(name string) (*simCluster, mesh.Ref) {
	c := newSim(4, 0)
	ref := mesh.Ref{Kind: mesh.KindDeployment, Namespace: "a", Name: name}
	c.stuck[ref] = true
	return c, ref
}

func one(s *v1alpha1.DataPlaneRolloutSpec) { s.Parallelism = new(int32(1)) }

func TestAFailureStopsTheRolloutAndTouchesNothingElse(t *testing.T) {
	c, ref := stuckAt("w001")
	out := run(t, c, spec(one), first, never)
	if out.Complete || !out.Undecided || out.Counts.Done != 1 || out.Counts.Pending != 2 {
		t.Errorf("outcome %+v", out)
	}
	if len(out.Failures) != 1 || out.Failures[0].WorkloadReference != Reference(ref) || out.Failures[0].Reason != "ProgressDeadlineExceeded" {
		t.Errorf("failures %+v", out.Failures)
	}
}

func TestRetryRestartsTheFailedWorkloadOnceAndGoesOn(t *testing.T) {
	c, ref := stuckAt("w001")
	run(t, c, spec(one), first, never)
	c.stuck[ref] = false
	retry := func(s *v1alpha1.DataPlaneRolloutSpec) {
		s.Decisions = []v1alpha1.WorkloadDecision{{WorkloadReference: Reference(ref), Action: v1alpha1.Retry, Attempt: 2}}
	}
	out := run(t, c, spec(one, retry), first, never)
	if !out.Complete || out.Counts.Done != 4 {
		t.Errorf("outcome %+v", out)
	}
	if c.restarts[ref] != 2 {
		t.Errorf("%s was restarted %d times for a move and a retry", ref, c.restarts[ref])
	}
}

func TestSkipLeavesTheFailedWorkloadAndGoesOn(t *testing.T) {
	c, ref := stuckAt("w001")
	run(t, c, spec(one), first, never)
	out := run(t, c, spec(one, func(s *v1alpha1.DataPlaneRolloutSpec) {
		s.Decisions = []v1alpha1.WorkloadDecision{{WorkloadReference: Reference(ref), Action: v1alpha1.Skip}}
	}), first, never)
	if !out.Complete || out.Counts.Done != 3 || out.Counts.Skipped != 1 || c.restarts[ref] != 1 {
		t.Errorf("outcome %+v, restarts %d", out.Counts, c.restarts[ref])
	}
}

func TestMoveBackByDecisionReturnsTheWorkloadAndGoesOn(t *testing.T) {
	c, ref := stuckAt("w001")
	run(t, c, spec(one), first, never)
	out := run(t, c, spec(one, func(s *v1alpha1.DataPlaneRolloutSpec) {
		s.Decisions = []v1alpha1.WorkloadDecision{{WorkloadReference: Reference(ref), Action: v1alpha1.MoveBack}}
	}), first, never)
	w, _ := c.inv.Workload(ref)
	if !out.Complete || out.Counts.Done != 3 || out.Counts.Skipped != 1 || !w.Uses(oldRev) || w.Uses(newRev) {
		t.Errorf("outcome %+v, pods %v", out.Counts, w.Pods)
	}
}

func TestAMoveBackThatDoesNotBecomeReadyFailsAtItsTimeout(t *testing.T) {
	c, ref := stuckAt("w001")
	run(t, c, spec(one), first, never)
	back := spec(one, func(s *v1alpha1.DataPlaneRolloutSpec) {
		s.Decisions = []v1alpha1.WorkloadDecision{{WorkloadReference: Reference(ref), Action: v1alpha1.MoveBack}}
	})
	for _, a := range c.decide(back, nil).Actions {
		c.do(a)
	}
	if out := c.decide(back, nil); out.Counts.Moving != 1 || out.Counts.Failed != 0 {
		t.Errorf("at once: %+v", out.Counts)
	}
	c.now = c.now.Add(10 * time.Minute)
	if out := c.decide(back, nil); out.Counts.Failed != 1 || !strings.HasPrefix(out.Failures[0].Message, "moving back: ") {
		t.Errorf("at the timeout: %+v", out)
	}
}

func TestMoveBackByPolicyReturnsTheWorkloadOnceAndStops(t *testing.T) {
	c, ref := stuckAt("w001")
	out := run(t, c, spec(one, func(s *v1alpha1.DataPlaneRolloutSpec) { s.FailurePolicy = v1alpha1.FailureMoveBack }), first, never)
	w, _ := c.inv.Workload(ref)
	if out.Complete || !out.Undecided || w.Uses(newRev) || c.restarts[ref] != 2 || out.Counts.Pending != 2 {
		t.Errorf("outcome %+v, pods %v, restarts %d", out, w.Pods, c.restarts[ref])
	}
	if len(out.Failures) != 1 || out.Failures[0].Reason != v1alpha1.FailureMovedBack {
		t.Errorf("failures %+v", out.Failures)
	}
}

func TestContinueGoesOnAndCompletesWithTheFailureListed(t *testing.T) {
	c, _ := stuckAt("w001")
	out := run(t, c, spec(one, func(s *v1alpha1.DataPlaneRolloutSpec) { s.FailurePolicy = v1alpha1.FailureContinue }), first, never)
	if !out.Complete || out.Counts.Done != 3 || out.Counts.Failed != 1 || len(out.Failures) != 1 {
		t.Errorf("outcome %+v", out)
	}
}

func TestARefusedRehearsalIsRememberedUntilSomebodyDecides(t *testing.T) {
	c := newSim(2, 0)
	refused := []v1alpha1.WorkloadFailure{{WorkloadReference: Reference(c.inv.Workloads[0].Ref), Attempt: 1, Reason: v1alpha1.FailureRehearsal, Message: "quota"}}
	out := c.decide(spec(), refused)
	if len(out.Actions) != 0 || out.Counts.Failed != 1 || !out.Undecided {
		t.Errorf("outcome %+v", out)
	}
	retry := c.decide(spec(func(s *v1alpha1.DataPlaneRolloutSpec) {
		s.Decisions = []v1alpha1.WorkloadDecision{{WorkloadReference: refused[0].WorkloadReference, Action: v1alpha1.Retry, Attempt: 2}}
	}), refused)
	if len(retry.Actions) != 2 {
		t.Errorf("after a retry: %+v", retry)
	}
}

func TestAMoveThatTakesTooLongFailsAtItsTimeoutAndNotBefore(t *testing.T) {
	c := newSim(1, 0)
	for _, a := range c.decide(spec(), nil).Actions {
		c.do(a)
	}
	started := c.now
	c.now = started.Add(10*time.Minute - time.Second)
	if out := c.decide(spec(), nil); out.Counts.Failed != 0 || !out.Again.Equal(started.Add(10*time.Minute)) {
		t.Errorf("one second early: %+v, look again at %s", out.Counts, out.Again)
	}
	c.now = started.Add(10 * time.Minute)
	if out := c.decide(spec(), nil); out.Counts.Failed != 1 || out.Failures[0].Reason != "NotReadyInTime" {
		t.Errorf("at the timeout: %+v", out)
	}
}

func TestNothingStartsWhilePausedStoppedOrSuspended(t *testing.T) {
	for name, in := range map[string]Input{
		"paused":    {Spec: spec(func(s *v1alpha1.DataPlaneRolloutSpec) { s.Paused = true })},
		"stopped":   {Spec: spec(func(s *v1alpha1.DataPlaneRolloutSpec) { s.Stopped = true })},
		"suspended": {Spec: spec(), Suspended: "admission"},
	} {
		in.From, in.To, in.Inventory, in.Now = oldRev, newRev, newSim(3, 0).inv, time.Now()
		out := Decide(in)
		if len(out.Actions) != 0 {
			t.Errorf("%s: %d actions", name, len(out.Actions))
		}
		if out.Complete != (name == "stopped") {
			t.Errorf("%s: complete is %v", name, out.Complete)
		}
	}
}

func TestExcludedPausedAndUnsupportedWorkloadsAreNotTouched(t *testing.T) {
	c := newSim(4, 0)
	c.inv.Workloads[0].Annotations[v1alpha1.ExcludeAnnotation] = "true"
	c.inv.Workloads[1].Progress.Paused = true
	c.inv.Workloads[2].Kind = "CloneSet"
	sortWorkloads(c.inv)
	out := c.decide(spec(func(s *v1alpha1.DataPlaneRolloutSpec) { s.FailurePolicy = v1alpha1.FailureContinue }), nil)
	var names []string
	for _, a := range out.Actions {
		names = append(names, a.Ref.Name)
	}
	if diff := cmp.Diff([]string{"w003"}, names); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(out.Failures[0].Message, "kubectl -n a rollout resume deployment w001") {
		t.Errorf("the failure does not say what to do: %s", out.Failures[0].Message)
	}
}

func TestAGatewayThatCanSurgeSurgesAndGetsItsStrategyBack(t *testing.T) {
	c := newSim(0, 1)
	c.inv.Workloads[0].Strategy = mesh.Strategy{Type: "RollingUpdate", MaxUnavailable: 1, RawMaxSurge: "0", RawMaxUnavailable: "1"}
	if w := Warnings(c.inv.Workloads[0]); len(w) != 0 {
		t.Errorf("warned although it can surge: %v", w)
	}
	out := c.decide(spec(), nil)
	if len(out.Actions) != 1 || !out.Actions[0].Surge {
		t.Fatalf("actions %+v", out.Actions)
	}
	run(t, c, spec(), first, never)
	w := c.inv.Workloads[0]
	if w.Annotations[v1alpha1.StrategyAnnotation] != "" || w.Strategy.MaxSurge != 0 {
		t.Errorf("strategy after the move: %+v, annotations %v", w.Strategy, w.Annotations)
	}
}

func TestAGatewayWithOnePodThatCannotSurgeIsAnnounced(t *testing.T) {
	for name, change := range map[string]func(*mesh.Workload){
		"Recreate":      func(w *mesh.Workload) { w.Strategy = mesh.Strategy{Type: "Recreate"} },
		"host ports":    func(w *mesh.Workload) { w.Strategy.MaxSurge, w.HostPorts = 0, true },
		"host network":  func(w *mesh.Workload) { w.Strategy.MaxSurge, w.HostNetwork = 0, true },
		"replaces 1st":  func(w *mesh.Workload) { w.Kind, w.Strategy.MaxSurge = mesh.KindStatefulSet, 0 },
		"a second pod":  func(w *mesh.Workload) { w.Desired, w.Strategy = 2, mesh.Strategy{Type: "Recreate"} },
		"surges itself": func(*mesh.Workload) {},
	} {
		w := newSim(0, 1).inv.Workloads[0]
		change(&w)
		announced := len(Warnings(w)) == 1 && strings.Contains(Warnings(w)[0], "unreachable")
		if want := name != "a second pod" && name != "surges itself"; announced != want {
			t.Errorf("%s: announced is %v: %v", name, announced, Warnings(w))
		}
	}
}

func TestTheInputOrderOfTargetsDoesNotChangeTheDecision(t *testing.T) {
	c := newSim(3, 1)
	targets := []v1alpha1.RolloutTarget{{Namespace: "a", Kind: "Deployment", Name: "w002"}, {Namespace: "a", Kind: "Deployment", Name: "w000"}}
	with := func(t []v1alpha1.RolloutTarget) Outcome {
		return c.decide(spec(func(s *v1alpha1.DataPlaneRolloutSpec) { s.Targets = t }), nil)
	}
	if diff := cmp.Diff(with(targets), with([]v1alpha1.RolloutTarget{targets[1], targets[0]})); diff != "" {
		t.Error(diff)
	}
	if got := with(targets).Counts.Total; got != 2 {
		t.Errorf("%d targets", got)
	}
}
