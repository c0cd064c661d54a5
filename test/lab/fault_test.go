package lab

import (
	"flag"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/test/lab/schedule"
)

var (
	faultSeeds    = flag.Int("faults.seeds", 6, "how many random schedules TestUpgradesUnderRandomFaultsEndAsWithoutThem runs")
	faultFirst    = flag.Int("faults.first", 1, "the first seed")
	faultLabs     = flag.Int("faults.labs", 1, "in how many labs at the same time")
	faultWithin   = flag.Duration("faults.within", 2*time.Minute, "no further seed begins after so long, so that a slow machine runs fewer; 0 for no limit")
	faultSchedule = flag.String("faults.schedule", "", "this schedule instead of random ones")
	faultShrink   = flag.Int("faults.shrink", 0, "how many runs may be spent on shrinking a schedule that fails")
)

// TestUpgradesUnderRandomFaultsEndAsWithoutThem runs upgrades while faults fall by a random schedule: of the API, of the
// agents, of the cluster, and by hand. docs/chaos.md has the faults and what must hold.
func TestUpgradesUnderRandomFaultsEndAsWithoutThem(t *testing.T) {
	t.Parallel()
	if *faultSchedule != "" {
		s, err := schedule.Parse(*faultSchedule)
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(t, "faults-1", 1)
		defer w.end()
		w.run(t, s)
		return
	}
	seeds := seedRange(*faultFirst, *faultSeeds)
	for n := range min(*faultLabs, len(seeds)) {
		t.Run(fmt.Sprintf("lab %d", n+1), func(t *testing.T) {
			t.Parallel()
			var mine []int
			for m := n; m < len(seeds); m += *faultLabs {
				mine = append(mine, seeds[m])
			}
			underFaults(t, fmt.Sprintf("faults-%d", n+1), mine)
		})
	}
}

// underFaults runs one cycle for each seed in one lab, and goes on in a new one after a failure.
func underFaults(t *testing.T, lab string, seeds []int) {
	var w *world
	defer func() {
		if w != nil {
			w.end()
		}
	}()
	began := time.Now()
	w = newWorld(t, lab, len(seeds)+1, "grpc")
	if !t.Run("without faults no call is lost", func(t *testing.T) { w.calm(t) }) {
		return
	}
	for n, seed := range seeds {
		if *faultWithin > 0 && time.Since(began) > *faultWithin {
			t.Logf("%d of %d seeds are left out after %s", len(seeds)-n, len(seeds), time.Since(began).Round(time.Second))
			seeds = seeds[:n]
			break
		}
		if w == nil {
			w = newWorld(t, lab, len(seeds)-n)
		}
		s := schedule.Random(uint64(seed)) // #nosec G115 -- a seed
		if t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { w.run(t, s) }) {
			continue
		}
		keepLogs(t, w.Lab, fmt.Sprintf("%s-seed-%d", w.Name, seed))
		w.end() // the cluster is in a state that the next seed must not build on
		w = nil
		small := schedule.Shrink(s, *faultShrink, func(s schedule.Schedule) bool {
			return !t.Run("shrink", func(t *testing.T) {
				w := newWorld(t, lab, 1)
				defer w.end()
				w.run(t, s)
			})
		})
		t.Logf("seed %d fails; reproduce with: go test ./test/lab -count 1 -run TestUpgradesUnderRandomFaults -faults.schedule '%s'", seed, small)
	}
	t.Logf("%d seeds in %s", len(seeds), time.Since(began).Round(time.Second))
}

// calm runs an upgrade without faults, under real traffic that is then ended.
func (w *world) calm(t *testing.T) {
	w.run(t, schedule.Schedule{Cycle: schedule.Forward})
	if calls := w.Traffic(t); calls.Failed > 0 || calls.OK == 0 {
		t.Errorf("%d calls were good, %d were lost", calls.OK, calls.Failed)
	} else {
		t.Logf("%d calls, none was lost", calls.OK)
	}
	if err := w.Client.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "grpc"}}); err != nil {
		t.Error(err)
	}
}

// labelOf is the revision that a pod template asks for.
func labelOf(o client.Object) string {
	switch o := o.(type) {
	case *appsv1.Deployment:
		return o.Spec.Template.Labels[v1alpha1.RevisionLabel]
	case *appsv1.StatefulSet:
		return o.Spec.Template.Labels[v1alpha1.RevisionLabel]
	}
	return ""
}
