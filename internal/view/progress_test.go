package view_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/view"
)

func TestProgressShowsBarsMotionAndFailuresWithTheirEvents(t *testing.T) {
	p := view.Progress{Rollout: runningRollout(), Groups: view.Groups(items()), Now: now}
	golden(t, "progress", p.Render(view.Options{Width: 110}))

	p.Rollout.Spec.Targets = []v1alpha1.RolloutTarget{{Namespace: "bookinfo"}}
	p.Rollout.Spec.Direction, p.Rollout.Spec.Paused = v1alpha1.Back, true
	p.Lost = "the cluster does not answer, trying again"
	golden(t, "progress-back-paused-lost", p.Render(view.Options{Width: 80}))
}

func TestALowTerminalShowsLessOfEachList(t *testing.T) {
	r := runningRollout()
	for n := range 20 {
		f := r.Status.Failures[0]
		f.Name = f.Name + strings.Repeat("x", n+1)
		r.Status.Failures = append(r.Status.Failures, f)
	}
	text := view.Progress{Rollout: r, Now: now, Height: 12, Selected: 20}.Render(view.Options{Width: 80})
	if !strings.Contains(text, r.Status.Failures[20].Name) {
		t.Errorf("the selected failure is not shown:\n%s", text)
	}
	if !strings.Contains(text, "and 18 failures more (↑↓)") {
		t.Errorf("the others are not counted:\n%s", text)
	}
}

func TestPlainLinesTellWhatHappenedBetweenTwoLooks(t *testing.T) {
	start := runningRollout()
	start.Status = v1alpha1.DataPlaneRolloutStatus{Warnings: []string{"gw will be unreachable"}}
	moving := runningRollout()
	moving.Status.Warnings = start.Status.Warnings
	moving.Status.Failures = nil
	moving.Status.Counts = v1alpha1.RolloutCounts{Total: 6, Moving: 1, Pending: 5}
	failed := runningRollout()
	failed.Status.Warnings = start.Status.Warnings
	failed.Status.Moving = nil
	failed.Status.Counts.Moving = 0
	retried := failed.DeepCopy()
	retried.Status.Failures = nil
	retried.Status.Moving = []v1alpha1.WorkloadProgress{{WorkloadReference: ref("Deployment", "bookinfo", "ratings-v1"), Attempt: 2, Message: "0 of 1 pods ready on 1-31"}}
	retried.Status.Counts = v1alpha1.RolloutCounts{Total: 6, Done: 2, Moving: 1, Skipped: 2, Pending: 1}
	held := retried.DeepCopy()
	held.Status.Conditions[0].Reason, held.Status.Conditions[0].Message = v1alpha1.ReasonHandoverNotEstablished, "admission does not route yet"
	back := held.DeepCopy()
	back.Status.Moving, back.Status.Counts.Moving = nil, 0
	back.Spec.Decisions = []v1alpha1.WorkloadDecision{{WorkloadReference: ref("Deployment", "bookinfo", "ratings-v1"), Action: v1alpha1.MoveBack}}

	for _, c := range []struct {
		name          string
		before, after *v1alpha1.DataPlaneRollout
		want          []string
	}{
		{"the warnings are told once, at the start", nil, start, []string{"warning: gw will be unreachable"}},
		{"nothing", moving, moving, nil},
		{"a workload begins to move", start, moving, []string{"moving: bookinfo/StatefulSet/cart: 1 of 3 pods ready on 1-31", "progress: 0 of 6 moved, 1 moving"}},
		{"one has moved and another failed, with events", moving, failed, []string{
			"moved: bookinfo/StatefulSet/cart",
			"failed: bookinfo/Deployment/ratings-v1 (attempt 1): was not ready 10m0s after its move began: 0 of 1 pods ready on 1-31",
			"  event: 12s ago  Warning FailedScheduling  pod ratings-v1-abc: 0/3 nodes are available: 3 Insufficient cpu. (4 times)",
			"progress: 1 of 6 moved, 1 failed, 2 skipped",
		}},
		{"a retry", failed, retried, []string{"moving: bookinfo/Deployment/ratings-v1 (attempt 2): 0 of 1 pods ready on 1-31", "progress: 2 of 6 moved, 1 moving, 2 skipped"}},
		{"the rollout waits for admission", retried, held, []string{"rollout: admission does not route yet"}},
		{"a workload that was moved back is not called moved", held, back, []string{"moved back: bookinfo/Deployment/ratings-v1", "progress: 2 of 6 moved, 2 skipped"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, view.Changes(c.before, c.after, now)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestARolloutWaitsOnlyWhenNothingElseWillHappen(t *testing.T) {
	idle := runningRollout()
	idle.Status.Moving, idle.Status.Counts.Moving = nil, 0
	change := func(f func(*v1alpha1.DataPlaneRollout)) *v1alpha1.DataPlaneRollout {
		r := idle.DeepCopy()
		f(r)
		return r
	}
	name := idle.Status.Failures[0].WorkloadReference
	for _, c := range []struct {
		name string
		r    *v1alpha1.DataPlaneRollout
		want bool
	}{
		{"a failure and nothing moves", idle, true},
		{"something still moves", runningRollout(), false},
		{"a skip is on its way", change(func(r *v1alpha1.DataPlaneRollout) {
			r.Spec.Decisions = []v1alpha1.WorkloadDecision{{WorkloadReference: name, Action: v1alpha1.Skip}}
		}), false},
		{"a retry of the next attempt is on its way", change(func(r *v1alpha1.DataPlaneRollout) {
			r.Spec.Decisions = []v1alpha1.WorkloadDecision{{WorkloadReference: name, Action: v1alpha1.Retry, Attempt: 2}}
		}), false},
		{"the retry has failed too", change(func(r *v1alpha1.DataPlaneRollout) {
			r.Spec.Decisions = []v1alpha1.WorkloadDecision{{WorkloadReference: name, Action: v1alpha1.Retry, Attempt: 2}}
			r.Status.Failures[0].Attempt = 2
		}), true},
		{"the status is older than the spec", change(func(r *v1alpha1.DataPlaneRollout) { r.Generation = 2 }), false},
		{"the policy goes on with what is pending", change(func(r *v1alpha1.DataPlaneRollout) {
			r.Spec.FailurePolicy, r.Status.Counts.Pending = v1alpha1.FailureContinue, 1
		}), false},
		{"the policy goes on and nothing is pending", change(func(r *v1alpha1.DataPlaneRollout) {
			r.Spec.FailurePolicy, r.Status.Counts.Pending = v1alpha1.FailureContinue, 0
		}), true},
		{"the policy goes on, but more have failed than may", change(func(r *v1alpha1.DataPlaneRollout) {
			r.Spec.FailurePolicy, r.Status.Counts.Pending = v1alpha1.FailureContinue, 1
			r.Spec.MaxFailures = new(r.Status.Counts.Failed - 1)
		}), true},
		{"it is complete", change(func(r *v1alpha1.DataPlaneRollout) { r.Status.Conditions[0].Status = metav1.ConditionTrue }), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := view.Waits(c.r); got != c.want {
				t.Errorf("got %t, want %t", got, c.want)
			}
		})
	}
}

func TestRolloutsAreListedWithWhatTheyWaitFor(t *testing.T) {
	waiting := runningRollout()
	waiting.Status.Moving, waiting.Status.Counts.Moving = nil, 0
	stopped := runningRollout()
	stopped.Name, stopped.Spec.Stopped, stopped.Status.Conditions[0].Status = "r2", true, metav1.ConditionTrue
	paused := runningRollout()
	paused.Name, paused.Spec.Paused = "r3", true
	golden(t, "rollouts", view.RolloutsText([]v1alpha1.DataPlaneRollout{*waiting, *stopped, *paused}, now.Add(time.Minute), view.Options{Width: 120}))
}

func TestProgressShowsWavesAndWhatTheyWaitFor(t *testing.T) {
	r := runningRollout()
	completed := ago(10 * time.Minute)
	r.Spec.Waves = []v1alpha1.Wave{{Name: "canary", Soak: &metav1.Duration{Duration: 30 * time.Minute}}, {Name: "shops"}}
	r.Status.Failures, r.Status.Moving, r.Status.Conditions = nil, nil, nil
	r.Status.Waves = []v1alpha1.WaveStatus{
		{Name: "canary", Counts: v1alpha1.RolloutCounts{Total: 2, Done: 2}, CompletedAt: &completed},
		{Name: "shops", Counts: v1alpha1.RolloutCounts{Total: 3, Pending: 3}},
		{Name: "rest"},
	}
	text := view.Progress{Rollout: r, Now: now}.Render(view.Options{})
	for _, want := range []string{"wave 1 canary  ████████████████████  2/2  complete, soaks for another 20m", "wave 2 shops   ░░░░░░░░░░░░░░░░░░░░  0/3  waits"} {
		if !strings.Contains(text, want) {
			t.Errorf("missing %q in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "rest") {
		t.Errorf("a wave without data planes is shown:\n%s", text)
	}
}
