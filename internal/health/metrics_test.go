package health

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
)

func TestAWorkloadIsStoppedByItsRequestsOnlyWhenTheyShowIt(t *testing.T) {
	settled := Subject{Key: web, Target: "1-31", Pods: []string{"a"}, Settled: true}
	good, old := Counts{1000, 2, 40}, Counts{5000, 10, 200}
	for name, c := range map[string]struct {
		new, old     Counts
		after        time.Duration
		change       func(*Sample, *v1alpha1.Metrics)
		state        State
		reason, says string
		unproved     bool
	}{
		"as before, and its time is not over":    {good, old, time.Minute, nil, Wait, "", "watched until 12:05:00", false},
		"as before":                              {Counts{5000, 10, 200}, Counts{50000, 100, 2000}, 5 * time.Minute, nil, Pass, "", "", false},
		"every tenth fails":                      {Counts{1000, 100, 40}, old, time.Second, nil, Fail, v1alpha1.FailureErrors, "10 % of 1000 requests to new pods and 0.2 % of 5000 to old ones fail", false},
		"it failed before too":                   {Counts{1000, 100, 40}, Counts{5000, 500, 200}, time.Minute, nil, Wait, "", "", false},
		"a few more are allowed":                 {Counts{1000, 8, 40}, old, time.Minute, nil, Wait, "", "", false},
		"three of three fail, and it is early":   {Counts{3, 3, 0}, old, time.Second, nil, Fail, v1alpha1.FailureErrors, "", false},
		"one of one fails, which says nothing":   {Counts{1, 1, 0}, old, time.Second, nil, Wait, "", "", false},
		"a third is slow":                        {Counts{1000, 2, 333}, old, time.Second, nil, Fail, v1alpha1.FailureSlow, "take longer than 25 ms", false},
		"nothing is known of durations":          {Counts{1000, 2, 333}, old, time.Second, func(s *Sample, _ *v1alpha1.Metrics) { s.Bound = 0 }, Wait, "", "", false},
		"no requests at all":                     {Counts{}, Counts{}, 5 * time.Minute, nil, Pass, "", "", true},
		"no requests to the old ones":            {Counts{1000, 1000, 0}, Counts{}, 5 * time.Minute, nil, Pass, "", "", true},
		"too few, and it asks to stop then":      {Counts{10, 0, 0}, old, 5 * time.Minute, func(_ *Sample, m *v1alpha1.Metrics) { m.OnInconclusive = v1alpha1.InconclusiveStop }, Fail, v1alpha1.FailureInconclusive, "cannot be told", false},
		"an own query returns something":         {good, old, time.Second, func(s *Sample, _ *v1alpha1.Metrics) { s.Fired = []string{"memory returned 3e9"} }, Fail, v1alpha1.FailureQuery, "memory returned 3e9", false},
		"Prometheus does not answer":             {Counts{1000, 1000, 0}, old, time.Hour, func(s *Sample, _ *v1alpha1.Metrics) { s.Unknown = "Prometheus x did not answer" }, Wait, "", "did not answer", false},
		"asked before its pods were ready":       {Counts{1000, 1000, 0}, old, -time.Second, nil, Wait, "", "is asked", false},
		"numbers that cannot be are no evidence": {Counts{-1, 5, 9}, Counts{-3, 1, 1}, time.Second, nil, Wait, "", "", false},
	} {
		spec := &v1alpha1.Metrics{Watch: &metav1.Duration{Duration: 5 * time.Minute}}
		sample := Sample{At: ready.Add(c.after), New: c.new, Old: c.old, Bound: 25}
		if c.change != nil {
			c.change(&sample, spec)
		}
		v := Metrics(settled, sample, ready, sample.At, spec)
		if v.State != c.state || v.Reason != c.reason || !strings.Contains(v.Message, c.says) || v.Unproved != c.unproved {
			t.Errorf("%s: %+v", name, v)
		}
		if v.State == Fail && (len(v.Seen) == 0 || !strings.Contains(v.Message, "shop/Deployment/web")) {
			t.Errorf("%s: no evidence, or nobody is named: %+v", name, v)
		}
	}
	moving := settled
	moving.Settled = false
	if v := Metrics(moving, Sample{At: ready, New: Counts{100, 100, 0}, Old: old}, ready, ready, &v1alpha1.Metrics{}); v.State != Wait {
		t.Errorf("pods that are not ready are judged: %+v", v)
	}
}

// Whoever looks after every request stops what is as good as before hardly ever, and what is worse soon.
func TestLookingOftenDoesNotStopWhatIsAsGoodAsBefore(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2)) // #nosec G404 -- a simulation that can be repeated
	spec := &v1alpha1.Metrics{MaxErrorIncrease: new(int32)}
	stopped := func(failing float64) (after int, bad bool) {
		s := Sample{At: ready, Old: Counts{Requests: 3000}}
		for range 3000 {
			if random.Float64() < 0.05 {
				s.Old.Errors++
			}
		}
		for n := range 1000 {
			s.New.Requests++
			if random.Float64() < failing {
				s.New.Errors++
			}
			if Metrics(Subject{Key: web, Pods: []string{"a"}, Settled: true}, s, ready, ready, spec).State == Fail {
				return n, true
			}
		}
		return 0, false
	}
	for range 300 {
		if after, bad := stopped(0.05); bad {
			t.Errorf("stopped after %d requests although nothing is worse", after)
		}
	}
	for range 50 {
		if after, bad := stopped(0.30); !bad || after > 200 {
			t.Errorf("5 %% of requests failed before and 30 %% fail now: stopped %v after %d", bad, after)
		}
	}
}

func FuzzBetween(f *testing.F) {
	f.Add(0.0, 0.0)
	f.Add(3.0, 1000.0)
	f.Fuzz(func(t *testing.T, bad, all float64) {
		low, high := between(bad, all)
		if !(0 <= low && low <= high && high <= 1) {
			t.Errorf("between(%g, %g) = %g, %g", bad, all, low, high)
		}
	})
}
