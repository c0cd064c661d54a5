package rollout

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/window"
)

// spread is a cluster whose workloads lie in the namespaces a, b and c, of which only b has the label tier=canary.
func spread(workloads, gateways int, pods func(n int) int32) *simCluster {
	c := newSim(workloads, gateways)
	for n, ns := range []string{"a", "b", "c"} {
		labels := map[string]string{mesh.LabelRev: oldRev}
		if n == 1 {
			labels["tier"] = "canary"
		}
		c.inv.Namespaces[ns] = mesh.Namespace{Labels: labels}
	}
	for n := range c.inv.Workloads {
		w := &c.inv.Workloads[n]
		w.Namespace, w.Desired = []string{"a", "b", "c"}[n%3], pods(n)
	}
	for n := range c.inv.Workloads {
		c.roll(n, oldRev)
	}
	sortWorkloads(c.inv)
	return c
}

// drawPace draws everything that can be said about the pace, with a window that is always open or opens each even hour.
func drawPace(t *rapid.T) v1alpha1.DataPlaneRolloutSpec {
	return spec(func(s *v1alpha1.DataPlaneRolloutSpec) {
		s.Parallelism = new(int32(rapid.IntRange(0, 4).Draw(t, "parallelism")))
		s.ParallelismPerNamespace = int32(rapid.IntRange(0, 2).Draw(t, "per namespace"))
		s.MaxPods = rapid.SampledFrom([]*intstr.IntOrString{nil, new(intstr.FromInt32(3)), new(intstr.FromString("30%"))}).Draw(t, "max pods")
		s.NamespaceOrder = rapid.SampledFrom([][]string{nil, {"c"}, {"b", "a"}}).Draw(t, "namespaces")
		s.Gateways = rapid.SampledFrom([]v1alpha1.GatewayOrder{"", v1alpha1.GatewaysLast, v1alpha1.GatewaysFirst, v1alpha1.GatewaysMixed}).Draw(t, "gateways")
		soak := &metav1.Duration{Duration: time.Duration(rapid.IntRange(0, 90).Draw(t, "soak minutes")) * time.Minute}
		s.Waves = rapid.SampledFrom([][]v1alpha1.Wave{
			nil,
			{{Name: "canary", NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "canary"}}, Soak: soak}},
			{{Name: "gateways", Role: v1alpha1.RoleGateway, Soak: soak}, {Name: "c", Targets: []v1alpha1.RolloutTarget{{Namespace: "c"}}, Soak: soak}},
			{{Name: "nothing", Targets: []v1alpha1.RolloutTarget{{Namespace: "none"}}, Soak: soak}, {Name: "a", Targets: []v1alpha1.RolloutTarget{{Namespace: "a"}}}},
		}).Draw(t, "waves")
		if rapid.Bool().Draw(t, "window") {
			s.Windows = []v1alpha1.Window{{Schedule: "0 */2 * * *", Duration: metav1.Duration{Duration: time.Hour}}}
		}
		s.Timeout.Duration = 24 * time.Hour
	})
}

// pacer drives a rollout and checks at every start that nothing is started that must wait.
type pacer struct {
	*simCluster
	t        *rapid.T
	spec     v1alpha1.DataPlaneRolloutSpec
	calendar window.Calendar
	waves    []v1alpha1.WaveStatus
	// rank is the place of a workload: waves and halves in order.
	rank map[mesh.Ref]turn
	// ready is when each workload became ready on the target.
	ready map[mesh.Ref]time.Time
}

func newPacer(t *rapid.T, c *simCluster, s v1alpha1.DataPlaneRolloutSpec) *pacer {
	p := &pacer{simCluster: c, t: t, spec: s, rank: map[mesh.Ref]turn{}, ready: map[mesh.Ref]time.Time{}}
	var err error
	if p.calendar, err = window.Of(&s, nil); err != nil {
		t.Fatal(err)
	}
	o, err := newOrder(&s, c.inv)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range o.arrange(Plan(c.inv, oldRev, newRev, v1alpha1.Forward)) {
		p.rank[x.Ref] = turn{x.wave, x.half}
	}
	return p
}

func (p *pacer) decide() Outcome {
	return Decide(Input{Name: "r", Spec: p.spec, Waves: p.waves, From: oldRev, To: newRev, Inventory: p.inv, Calendar: p.calendar, Now: p.now})
}

// check fails when one more start breaks the pace.
func (p *pacer) check(ref mesh.Ref) {
	moving, inNamespace, pods, all := int32(0), int32(0), int32(0), int32(0)
	for n, w := range p.inv.Workloads {
		all += w.Desired
		if slices.Contains(p.inMotion(), n) {
			moving++
			pods += w.Desired
			if w.Namespace == ref.Namespace {
				inNamespace++
			}
		}
	}
	w := p.inv.Workloads[p.find(ref)]
	budget := podBudget(p.spec.MaxPods, all)
	switch {
	case p.spec.Workloads() > 0 && moving >= p.spec.Workloads():
		p.t.Fatalf("%s starts while %d move", ref, moving)
	case p.spec.ParallelismPerNamespace > 0 && inNamespace >= p.spec.ParallelismPerNamespace:
		p.t.Fatalf("%s starts while %d of its namespace move", ref, inNamespace)
	case budget > 0 && pods > 0 && pods+w.Desired > budget:
		p.t.Fatalf("%s with %d pods starts while %d pods move, of %d", ref, w.Desired, pods, budget)
	case !p.calendar.At(p.now).Open:
		p.t.Fatalf("%s starts at %s, outside the windows", ref, p.now)
	}
	mine := p.rank[ref]
	for other, rank := range p.rank {
		if rank.wave > mine.wave || rank.wave == mine.wave && rank.half >= mine.half {
			continue
		}
		since, ready := p.ready[other]
		if !ready {
			p.t.Fatalf("%s %v starts before %s %v has moved", ref, mine, other, rank)
		}
		if rank.wave < mine.wave && rank.wave < len(p.spec.Waves) {
			if soak := p.spec.Waves[rank.wave].Soak; soak != nil && p.now.Before(since.Add(soak.Duration)) {
				p.t.Fatalf("%s starts %s after %s of an earlier wave moved, before its soak of %s", ref, p.now.Sub(since), other, soak.Duration)
			}
		}
	}
}

// drive runs the rollout to its end. Actions and statuses are lost in between, as by crashes.
func (p *pacer) drive(crash func() bool) Outcome {
	for range 3000 {
		out := p.decide()
		for _, a := range out.Actions {
			if crash() {
				break
			}
			if !a.Restore {
				p.check(a.Ref)
			}
			p.do(a)
		}
		if !crash() {
			p.waves = out.Waves
		}
		if out.Complete {
			return out
		}
		if m := p.inMotion(); len(m) > 0 && rapid.IntRange(0, 3).Draw(p.t, "settle") > 0 {
			n := m[rapid.IntRange(0, len(m)-1).Draw(p.t, "which")]
			p.settle(n)
			p.ready[p.inv.Workloads[n].Ref] = p.now
			continue
		}
		// Time passes only as far as the decision asks to be made again.
		if !out.Again.IsZero() && len(p.inMotion()) == 0 {
			p.now = out.Again
		} else {
			p.now = p.now.Add(7 * time.Minute)
		}
	}
	p.t.Fatalf("the rollout does not end: %+v", p.decide())
	return Outcome{}
}

func TestThePaceIsKeptInEveryInterleavingAndEveryScheduleEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := spread(rapid.IntRange(0, 9).Draw(t, "workloads"), rapid.IntRange(0, 3).Draw(t, "gateways"), func(n int) int32 {
			return int32(rapid.IntRange(1, 5).Draw(t, fmt.Sprint("pods ", n)))
		})
		p := newPacer(t, c, drawPace(t))
		out := p.drive(func() bool { return rapid.IntRange(0, 4).Draw(t, "crash") == 0 })
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

func names(actions []Action) []string {
	var out []string
	for _, a := range actions {
		out = append(out, a.Ref.Namespace+"/"+a.Ref.Name)
	}
	return out
}

func two(int) int32 { return 2 }

func TestNamespacesMoveInTheOrderGiven(t *testing.T) {
	c := spread(6, 0, two)
	out := c.decide(spec(func(s *v1alpha1.DataPlaneRolloutSpec) {
		s.NamespaceOrder, s.Parallelism = []string{"c", "a"}, new(int32(0))
	}), nil)
	if diff := cmp.Diff([]string{"c/w002", "c/w005", "a/w000", "a/w003", "b/w001", "b/w004"}, names(out.Actions)); diff != "" {
		t.Error(diff)
	}
}

func TestGatewaysMoveLastFirstOrMixed(t *testing.T) {
	for order, want := range map[v1alpha1.GatewayOrder][]string{
		v1alpha1.GatewaysLast:  {"b/w000", "c/w001"},
		v1alpha1.GatewaysFirst: {"a/gw002"},
		v1alpha1.GatewaysMixed: {"a/gw002", "b/w000", "c/w001"},
	} {
		out := spread(2, 1, two).decide(spec(func(s *v1alpha1.DataPlaneRolloutSpec) { s.Gateways = order }), nil)
		if diff := cmp.Diff(want, names(out.Actions)); diff != "" {
			t.Errorf("%s: %s", order, diff)
		}
	}
}

func TestAWorkloadLargerThanThePodBudgetMovesAloneAndIsNotOvertaken(t *testing.T) {
	c := spread(3, 0, func(n int) int32 { return []int32{9, 1, 1}[n] })
	s := spec(func(s *v1alpha1.DataPlaneRolloutSpec) { s.MaxPods = new(intstr.FromInt32(2)) })
	out := c.decide(s, nil)
	if diff := cmp.Diff([]string{"a/w000"}, names(out.Actions)); diff != "" {
		t.Error(diff)
	}
	c = spread(3, 0, func(n int) int32 { return []int32{1, 9, 1}[n] })
	if diff := cmp.Diff([]string{"a/w000"}, names(c.decide(s, nil).Actions)); diff != "" {
		t.Errorf("a small one overtakes the large one: %s", diff)
	}
}

func TestAPercentageOfPodsIsRoundedDownToAtLeastOne(t *testing.T) {
	for text, want := range map[string]int32{"1%": 1, "25%": 12, "100%": 50, "nonsense": 1} {
		if got := podBudget(new(intstr.FromString(text)), 50); got != want {
			t.Errorf("%s of 50 pods is %d, want %d", text, got, want)
		}
	}
}

func TestAWaveSoaksFromItsCompletionAndSaysUntilWhen(t *testing.T) {
	c := spread(3, 0, two)
	s := spec(func(s *v1alpha1.DataPlaneRolloutSpec) {
		s.Waves = []v1alpha1.Wave{{Name: "canary", Targets: []v1alpha1.RolloutTarget{{Namespace: "b"}}, Soak: &metav1.Duration{Duration: time.Hour}}}
		s.Timeout.Duration = 0
	})
	var waves []v1alpha1.WaveStatus
	decide := func() Outcome {
		out := Decide(Input{Name: "r", Spec: s, Waves: waves, From: oldRev, To: newRev, Inventory: c.inv, Now: c.now})
		waves = out.Waves
		return out
	}
	out := decide()
	if diff := cmp.Diff([]string{"b/w001"}, names(out.Actions)); diff != "" {
		t.Fatal(diff)
	}
	c.do(out.Actions[0])
	c.now = c.now.Add(10 * time.Minute)
	c.settle(c.find(out.Actions[0].Ref))
	done := c.now
	out = decide()
	if len(out.Actions) != 0 || !out.Again.Equal(done.Add(time.Hour)) || !strings.HasPrefix(out.Held, `wave "canary" is complete and soaks: the next one starts Mon 2026-11-23 01:10:00 UTC`) {
		t.Errorf("at its completion: %v, again %s, held %q", names(out.Actions), out.Again, out.Held)
	}
	c.now = done.Add(time.Hour - time.Second)
	if out = decide(); len(out.Actions) != 0 || !out.Waves[0].CompletedAt.Equal(new(metav1.NewTime(done))) {
		t.Errorf("a second early: %v, completed %s", names(out.Actions), out.Waves[0].CompletedAt)
	}
	c.now = done.Add(time.Hour)
	if diff := cmp.Diff([]string{"a/w000", "c/w002"}, names(decide().Actions)); diff != "" {
		t.Error(diff)
	}
}

func TestNothingStartsOutsideTheWindowsExceptMovesBack(t *testing.T) {
	forward := spec(func(s *v1alpha1.DataPlaneRolloutSpec) { s.Freezes = []v1alpha1.Freeze{{Name: "incident"}} })
	calendar, err := window.Of(&forward, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := spread(3, 0, two)
	in := Input{Name: "r", Spec: forward, From: oldRev, To: newRev, Inventory: c.inv, Calendar: calendar, Now: c.now}
	if out := Decide(in); len(out.Actions) != 0 || out.Complete || !strings.Contains(out.Held, `freeze "incident"`) {
		t.Errorf("in a freeze: %+v", out)
	}
	run(t, c, spec(), first, never)
	in.Spec.Direction = v1alpha1.Back
	if out := Decide(in); len(out.Actions) != 3 {
		t.Errorf("moves back are held: %+v", out)
	}
}

func TestContinueStopsWhenTooManyHaveFailed(t *testing.T) {
	for limit, want := range map[int32]bool{0: true, 1: false} {
		c, _ := stuckAt("w001")
		out := run(t, c, spec(one, func(s *v1alpha1.DataPlaneRolloutSpec) {
			s.FailurePolicy, s.MaxFailures = v1alpha1.FailureContinue, new(limit)
		}), first, never)
		if out.Undecided != want || out.Complete == want {
			t.Errorf("with one failure of %d allowed: %+v", limit, out)
		}
	}
}

func TestMoveBackAndContinueReturnsTheFailedOneAndMovesTheOthers(t *testing.T) {
	c, ref := stuckAt("w001")
	out := run(t, c, spec(one, func(s *v1alpha1.DataPlaneRolloutSpec) { s.FailurePolicy = v1alpha1.FailureMoveBackAndContinue }), first, never)
	w, _ := c.inv.Workload(ref)
	if !out.Complete || out.Counts.Done != 3 || out.Counts.Failed != 1 || w.Uses(newRev) || c.restarts[ref] != 2 {
		t.Errorf("outcome %+v, pods %v, restarts %d", out.Counts, w.Pods, c.restarts[ref])
	}
}

func TestTheAnnotationOfAWorkloadOverridesTheTimeout(t *testing.T) {
	for text, wantFailed := range map[string]int32{"": 1, "45m": 0, "0s": 0, "5m": 1, "soon": 1} {
		c := newSim(1, 0)
		c.inv.Workloads[0].Annotations[v1alpha1.TimeoutAnnotation] = text
		c.do(c.decide(spec(), nil).Actions[0])
		c.now = c.now.Add(20 * time.Minute)
		if out := c.decide(spec(), nil); out.Counts.Failed != wantFailed {
			t.Errorf("annotation %q after 20m: %+v", text, out.Counts)
		}
	}
}

func TestWavesThatCannotWorkAreRefusedInOneSentence(t *testing.T) {
	for says, waves := range map[string][]v1alpha1.Wave{
		`wave "x" selects nothing`:         {{Name: "x"}},
		`the name "rest" belongs`:          {{Name: "rest", Role: v1alpha1.RoleGateway}},
		`two waves have the name "x"`:      {{Name: "x", Role: v1alpha1.RoleGateway}, {Name: "x", Role: v1alpha1.RoleSidecar}},
		`the soak of wave "x" is -1s`:      {{Name: "x", Role: v1alpha1.RoleGateway, Soak: &metav1.Duration{Duration: -time.Second}}},
		`the podSelector of wave "x" cann`: {{Name: "x", PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"a b": "c"}}}},
	} {
		err := CheckWaves(&v1alpha1.DataPlaneRolloutSpec{Waves: waves})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v, want %q", waves, err, says)
		}
	}
}
