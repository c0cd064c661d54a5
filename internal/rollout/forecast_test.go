package rollout

import (
	"fmt"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
)

// measured gives every pod of the workloads the time that it took to become ready.
func measured(c *simCluster, after func(w mesh.Workload) time.Duration) *mesh.Inventory {
	for n := range c.inv.Workloads {
		w := &c.inv.Workloads[n]
		for k := range w.Pods {
			w.Pods[k].ReadyAfter = after(*w)
		}
	}
	return c.inv
}

func TestAForecastFollowsThePace(t *testing.T) {
	const second = time.Second
	two, half := intstr.FromInt32(2), intstr.FromString("50%")
	minute := metav1.Duration{Duration: time.Minute}
	for name, tt := range map[string]struct {
		spec   v1alpha1.DataPlaneRolloutSpec
		change func(*mesh.Workload)
		want   time.Duration
	}{
		// Four workloads with two pods, one pod after the other.
		"one workload at a time":    {v1alpha1.DataPlaneRolloutSpec{Parallelism: new(int32(1))}, nil, 80 * second},
		"two workloads at a time":   {v1alpha1.DataPlaneRolloutSpec{Parallelism: new(int32(2))}, nil, 40 * second},
		"all of them":               {v1alpha1.DataPlaneRolloutSpec{Parallelism: new(int32(0))}, nil, 20 * second},
		"two pods at a time":        {v1alpha1.DataPlaneRolloutSpec{Parallelism: new(int32(0)), MaxPods: &two}, nil, 80 * second},
		"half of the pods":          {v1alpha1.DataPlaneRolloutSpec{Parallelism: new(int32(0)), MaxPods: &half}, nil, 40 * second},
		"one of a namespace":        {v1alpha1.DataPlaneRolloutSpec{Parallelism: new(int32(0)), ParallelismPerNamespace: 1}, nil, 80 * second},
		"one of them alone":         {v1alpha1.DataPlaneRolloutSpec{Targets: []v1alpha1.RolloutTarget{{Namespace: "a", Kind: "Deployment", Name: "w000"}}}, nil, 20 * second},
		"a wave that soaks":         {v1alpha1.DataPlaneRolloutSpec{Parallelism: new(int32(0)), Waves: []v1alpha1.Wave{{Name: "first", Targets: []v1alpha1.RolloutTarget{{Namespace: "a", Kind: "Deployment", Name: "w000"}}, Soak: &minute}}}, nil, 100 * second},
		"pods that surge together":  {v1alpha1.DataPlaneRolloutSpec{Parallelism: new(int32(0))}, func(w *mesh.Workload) { w.Strategy.MaxSurge = 2 }, 10 * second},
		"pods that end all at once": {v1alpha1.DataPlaneRolloutSpec{Parallelism: new(int32(0))}, func(w *mesh.Workload) { w.Strategy.Type = "Recreate" }, 10 * second},
		"one that nobody measured": {v1alpha1.DataPlaneRolloutSpec{Parallelism: new(int32(1))}, func(w *mesh.Workload) {
			if w.Name == "w000" {
				w.Pods[0].ReadyAfter, w.Pods[1].ReadyAfter = 49*time.Hour, 50*time.Hour // its node was away yesterday
			}
		}, 80 * second},
	} {
		t.Run(name, func(t *testing.T) {
			inv := measured(newSim(4, 0), func(mesh.Workload) time.Duration { return 10 * second })
			for n := range inv.Workloads {
				if tt.change != nil {
					tt.change(&inv.Workloads[n])
				}
			}
			f := Foresee(&tt.spec, inv, oldRev, newRev)
			if f == nil || f.P50 != tt.want || f.P95 != tt.want {
				t.Errorf("%+v, want %s", f, tt.want)
			}
		})
	}
}

func TestNothingToMoveOrToGoByIsNoForecast(t *testing.T) {
	spec := &v1alpha1.DataPlaneRolloutSpec{}
	if f := Foresee(spec, measured(newSim(4, 0), func(mesh.Workload) time.Duration { return time.Hour }), oldRev, newRev); f != nil {
		t.Errorf("%+v of pods that tell nothing", f)
	}
	if f := Foresee(spec, newSim(0, 0).inv, oldRev, newRev); f != nil {
		t.Errorf("%+v of an empty cluster", f)
	}
}

func TestAForecastKeepsTheLimitsAndTheOrderOfTheRollout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parallelism := rapid.Int32Range(1, 5).Draw(t, "parallelism")
		inv := measured(newSim(rapid.IntRange(1, 8).Draw(t, "workloads"), rapid.IntRange(0, 3).Draw(t, "gateways")), func(w mesh.Workload) time.Duration {
			return time.Duration(rapid.IntRange(1, 60).Draw(t, fmt.Sprint(w.Ref))) * time.Second
		})
		f := Foresee(&v1alpha1.DataPlaneRolloutSpec{Parallelism: &parallelism}, inv, oldRev, newRev)
		if f.P95 < f.P50 || len(f.Spans) != len(inv.Workloads) || f.Guessed != 0 {
			t.Fatalf("%+v", f)
		}
		last := time.Duration(0)
		for n, s := range f.Spans {
			last = max(last, s.End)
			flying := 0
			for _, other := range f.Spans[:n+1] {
				if other.Start <= s.Start && s.Start < other.End {
					flying++
				}
			}
			if flying > int(parallelism) {
				t.Fatalf("%d moves at %s: %+v", flying, s.Start, f.Spans)
			}
		}
		if last != f.P50 {
			t.Fatalf("the last move ends at %s: %+v", last, f)
		}
		role := func(s Span) bool { w, _ := inv.Workload(s.Ref); return w.Role.IsGateway() }
		if first := slices.IndexFunc(f.Spans, role); first >= 0 {
			for _, s := range f.Spans[:first] {
				if s.End > f.Spans[first].Start {
					t.Fatalf("the first gateway moves before the last sidecar has: %+v", f.Spans)
				}
			}
		}
	})
}
