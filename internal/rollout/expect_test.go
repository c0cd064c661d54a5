package rollout

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// TestWhatIsUnderWayIsNeitherTakenAgainNorStartsMoreThanParallelismAllows decides again and again before anything of what
// was decided can be seen.
func TestWhatIsUnderWayIsNeitherTakenAgainNorStartsMoreThanParallelismAllows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newSim(rapid.IntRange(1, 12).Draw(t, "workloads"), rapid.IntRange(0, 3).Draw(t, "gateways"))
		s := spec(func(s *v1alpha1.DataPlaneRolloutSpec) {
			s.Parallelism = new(int32(rapid.IntRange(1, 5).Draw(t, "parallelism")))
		})
		before := c.inv
		var underWay []Action
		for range 3 {
			c.inv = Expect(before, underWay)
			out := c.decide(s, nil)
			if len(underWay) > 0 && len(out.Actions) > 0 {
				t.Fatalf("%d actions more while %d are under way", len(out.Actions), len(underWay))
			}
			underWay = append(underWay, out.Actions...)
			if len(underWay) > int(*s.Parallelism) || out.Complete {
				t.Fatalf("%d under way, parallelism %d, complete %v", len(underWay), s.Parallelism, out.Complete)
			}
		}
		c.inv = before
		for _, a := range underWay {
			if Seen(c.inv, a) {
				t.Fatalf("%s counts as seen before it is done", a.Ref)
			}
			want := Expect(c.inv, []Action{a})
			c.do(a)
			if !Seen(c.inv, a) {
				t.Fatalf("%s is not seen after it is done", a.Ref)
			}
			got, _ := c.inv.Workload(a.Ref)
			expected, _ := want.Workload(a.Ref)
			if diff := cmp.Diff(itemOf(c.inv, got, a.Target), itemOf(want, expected, a.Target)); diff != "" {
				t.Fatalf("what is expected differs from what happens: %s", diff)
			}
		}
	})
}
