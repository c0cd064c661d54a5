package lab

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/test/lab/labtest"
	"meshlift.dev/meshlift/test/lab/schedule"
)

// cycle is one upgrade, or one that is taken back, under the faults of a schedule; the person in front of it does what
// conditions say.
type cycle struct {
	*world
	storm *storm
	// rollouts so far, and how often a failed workload was tried again.
	rollouts, retries int
	// stops are the reasons for which the upgrade waited for a person.
	stops  []string
	before map[mesh.Ref]int64
}

// run runs one cycle and fails the test when an invariant breaks or the end is another than that without faults.
func (w *world) run(t *testing.T, s schedule.Schedule) {
	t.Helper()
	started := time.Now()
	w.cycles++
	w.prepare(t)
	w.unguarded = s.Has(schedule.StripHandover) && s.Has(schedule.DeleteGuards)
	c := &cycle{world: w, before: map[mesh.Ref]int64{}}
	for _, o := range workloads() {
		n, err := w.restarts(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		c.before[refOf(o)] = n
	}
	ready, changes := time.Since(started), w.changes.Load()
	stop := w.guard(t.Context())
	c.storm = w.inflict(t.Context(), s)
	defer func() {
		stop()
		c.log(t, s, started)
	}()
	c.install(t)
	installed := w.changes.Load() - changes
	c.move(t, v1alpha1.Forward, revisionOf(w.minor+1))
	moved := w.changes.Load() - changes
	moves := int64(1)
	if s.Cycle == schedule.Forward {
		c.decommission(t)
		w.minor++
	} else {
		c.move(t, v1alpha1.Back, revisionOf(w.minor))
		c.takeBack(t)
		moves = 2
	}
	changes = w.changes.Load() - changes
	<-c.storm.done
	c.ends(t, moves)
	t.Logf("%s  [%.1f s of which %.1f s to prepare, changes %d installed, %d moved, %d at the end; %d rollouts, %d retries, stopped %d times, %d faults had no object]",
		s, time.Since(started).Seconds(), ready.Seconds(), installed, moved, changes, c.rollouts, c.retries, len(c.stops), c.storm.failed)
	for _, why := range c.stops[:min(4, len(c.stops))] {
		t.Log("  stopped: " + why)
	}
}

func (c *cycle) log(t *testing.T, s schedule.Schedule, started time.Time) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.problems {
		t.Error(p)
	}
	if t.Failed() {
		c.storm.mu.Lock()
		defer c.storm.mu.Unlock()
		t.Logf("%s  [FAILED after %.1f s]\n  %s\n  stopped: %s", s, time.Since(started).Seconds(), strings.Join(c.storm.log, "\n  "), strings.Join(c.stops, "\n           "))
	}
}

func (c *cycle) install(t *testing.T) {
	t.Helper()
	u := &v1alpha1.ClusterUpgrade{ObjectMeta: metav1.ObjectMeta{Name: c.name()}}
	u.Spec.Version = fmt.Sprintf("1.%d", c.minor+1)
	c.create(t, u)
	c.reached(t, c.name(), v1alpha1.ConditionEnvoyFiltersHandled)
}

// move runs rollouts until every workload is on the revision: one, when nothing is undone by hand meanwhile.
func (c *cycle) move(t *testing.T, direction v1alpha1.Direction, revision string) {
	t.Helper()
	for range 6 {
		c.rollouts++
		name := fmt.Sprintf("%s-r%d", c.name(), c.rollouts)
		ro := &v1alpha1.DataPlaneRollout{ObjectMeta: metav1.ObjectMeta{Name: name}}
		ro.Spec.Upgrade, ro.Spec.Direction, ro.Spec.Parallelism = c.name(), direction, new(int32(2))
		c.create(t, ro)
		c.complete(t, name)
		missing := ""
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); wait(t.Context(), 100*time.Millisecond) {
			if missing = c.moved(t.Context(), direction, revision); missing == "" {
				return
			}
			if _, left, _ := strings.Cut(missing, "!"); left != "" {
				break // somebody moved it back: the condition says to roll out again
			}
		}
		if c.storm.over() && c.rollouts > 3 {
			t.Fatalf("after %d rollouts: %s", c.rollouts, missing)
		}
	}
	t.Fatal("rollouts do not end")
}

// moved says what is not on the revision; with an exclamation mark when its template does not ask for it either. The gateway
// counts too: a rollout that was deleted by hand may have left only that.
func (c *cycle) moved(ctx context.Context, direction v1alpha1.Direction, revision string) string {
	for _, o := range append(workloads(), deployment("istio-ingress", "istio-ingressgateway", 1)) {
		if _, gone := c.excused(refOf(o)); gone {
			continue
		}
		missing := c.incomplete(ctx, o, revision)
		if missing == "" {
			continue
		}
		if asks := labelOf(o); (asks == revisionOf(c.minor+1)) != (direction == v1alpha1.Forward) {
			return refOf(o).String() + ": " + missing + "! its template asks for " + asks
		}
		return refOf(o).String() + ": " + missing
	}
	return ""
}

// complete waits for a rollout. When it stops because a workload has failed, the reason must name a workload; when the
// faults are over, the person tries again.
func (c *cycle) complete(t *testing.T, name string) {
	t.Helper()
	known := map[string]bool{}
	labtest.Eventually(t, "DataPlaneRollout "+name+" completes", func(ctx context.Context) string {
		r := &v1alpha1.DataPlaneRollout{}
		if err := c.Client.Get(ctx, client.ObjectKey{Name: name}, r); apierrors.IsNotFound(err) {
			return "" // deleted by hand: the next one goes on
		} else if err != nil {
			return err.Error()
		}
		if cond := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionComplete); cond != nil && cond.Status == metav1.ConditionTrue {
			if r.Status.Counts.Done+r.Status.Counts.Skipped < r.Status.Counts.Total {
				c.problem("rollout %s is complete (%s) with %s", name, cond.Message, r.Status.Progress)
			}
			c.storm.note("rollout %s: %s: %s, %s; %v", name, cond.Reason, cond.Message, r.Status.Progress, r.Status.Warnings)
			if cond.Reason == v1alpha1.ReasonDone && !c.undone() {
				c.done(ctx, c.target(r))
			}
			return ""
		}
		for _, f := range r.Status.Failures {
			text := fmt.Sprintf("%s/%s/%s attempt %d: %s: %s", f.Kind, f.Namespace, f.Name, f.Attempt, f.Reason, f.Message)
			if !known[text] {
				known[text] = true
				c.stops = append(c.stops, text)
				if !strings.Contains(f.Message, f.Name) {
					c.problem("the reason does not name what failed: %s", text)
				}
			}
		}
		if len(r.Status.Failures) > 0 && c.storm.over() {
			c.retry(ctx, r)
		}
		why := "progress: " + r.Status.Progress
		for _, cond := range r.Status.Conditions {
			why += "; " + cond.Type + ": " + cond.Message
		}
		return why
	})
}

// undone tells whether a template was changed by hand.
func (c *cycle) undone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.touched) > 0
}

func (c *cycle) target(r *v1alpha1.DataPlaneRollout) string {
	if r.Spec.Direction == v1alpha1.Back {
		return revisionOf(c.minor)
	}
	return revisionOf(c.minor + 1)
}

// retry decides as a person would who has read the failure.
func (c *cycle) retry(ctx context.Context, r *v1alpha1.DataPlaneRollout) {
	decided := map[v1alpha1.WorkloadReference]int32{}
	for _, d := range r.Spec.Decisions {
		decided[d.WorkloadReference] = d.Attempt
	}
	var decisions []v1alpha1.WorkloadDecision
	for _, f := range r.Status.Failures {
		if f.Attempt+1 > decided[f.WorkloadReference] {
			c.retries++
			c.excuse(mesh.Ref{Kind: f.Kind, Namespace: f.Namespace, Name: f.Name}, 1, false)
			decided[f.WorkloadReference] = f.Attempt + 1
		}
	}
	for ref, attempt := range decided {
		decisions = append(decisions, v1alpha1.WorkloadDecision{WorkloadReference: ref, Action: v1alpha1.Retry, Attempt: attempt})
	}
	r.Spec.Decisions = decisions
	_ = c.Client.Update(ctx, r) // a conflict is followed by the next look
}

// decommission asks for it and waits for the end. When it is refused because something was moved back by hand, the person
// does what the refusal says.
func (c *cycle) decommission(t *testing.T) {
	t.Helper()
	c.reached(t, c.name(), v1alpha1.ConditionDataPlanesMoved)
	c.ask(t, &v1alpha1.DecommissionRequest{By: "chaos", At: metav1.Now(), Soak: metav1.Duration{Duration: time.Millisecond}})
	blocked := time.Time{}
	labtest.Eventually(t, "ClusterUpgrade "+c.name()+" ends", func(ctx context.Context) string {
		u := &v1alpha1.ClusterUpgrade{}
		if err := c.Client.Get(ctx, client.ObjectKey{Name: c.name()}, u); err != nil {
			return err.Error()
		}
		if meta.IsStatusConditionTrue(u.Status.Conditions, v1alpha1.ConditionReady) {
			return ""
		}
		why := "step " + u.Status.Step
		for _, cond := range u.Status.Conditions {
			if cond.Status != metav1.ConditionTrue && cond.Type != v1alpha1.ConditionReady {
				why += "; " + cond.Type + ": " + cond.Message
			}
		}
		switch {
		case meta.IsStatusConditionTrue(u.Status.Conditions, v1alpha1.ConditionDataPlanesMoved) || c.rollout(ctx) != "":
			blocked = time.Time{}
		case blocked.IsZero():
			blocked = time.Now()
		case time.Since(blocked) > 3*time.Second && c.storm.over() && u.Status.Decommission == nil:
			c.stops, blocked = append(c.stops, why), time.Time{}
			c.rollouts++
			ro := &v1alpha1.DataPlaneRollout{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-r%d", c.name(), c.rollouts)}}
			ro.Spec.Upgrade = c.name()
			_ = c.Client.Create(ctx, ro)
		}
		return why
	})
}

// ask writes the wish for the decommission.
func (c *cycle) ask(t *testing.T, r *v1alpha1.DecommissionRequest) {
	t.Helper()
	labtest.Eventually(t, "ask for the decommission", func(ctx context.Context) string {
		u := &v1alpha1.ClusterUpgrade{}
		if err := c.Client.Get(ctx, client.ObjectKey{Name: c.name()}, u); err != nil {
			return err.Error()
		}
		u.Spec.Decommission = r
		if err := c.Client.Update(ctx, u); err != nil {
			return err.Error()
		}
		return ""
	})
}

// takeBack deletes the upgrade and waits until it has gone.
func (c *cycle) takeBack(t *testing.T) {
	t.Helper()
	labtest.Eventually(t, "ClusterUpgrade "+c.name()+" is taken back", func(ctx context.Context) string {
		u := &v1alpha1.ClusterUpgrade{ObjectMeta: metav1.ObjectMeta{Name: c.name()}}
		if err := c.Client.Delete(ctx, u); apierrors.IsNotFound(err) {
			return ""
		}
		if err := c.Client.Get(ctx, client.ObjectKeyFromObject(u), u); err != nil {
			return err.Error()
		}
		why := "it is there"
		if cond := meta.FindStatusCondition(u.Status.Conditions, v1alpha1.ConditionReady); cond != nil {
			why = cond.Message
		}
		return why
	})
}

// ends checks that the cluster is where it would be without faults: one istiod, no trace, every workload complete on its
// revision, and restarted as often as it was moved.
func (c *cycle) ends(t *testing.T, moves int64) {
	t.Helper()
	revision := revisionOf(c.minor)
	labtest.Eventually(t, "a deleted namespace goes", func(ctx context.Context) string {
		ns := &corev1.Namespace{}
		if err := c.Client.Get(ctx, client.ObjectKey{Name: annex}, ns); client.IgnoreNotFound(err) != nil || ns.DeletionTimestamp != nil {
			return fmt.Sprintf("it is there, %v", err)
		}
		return ""
	})
	c.leftClean(t, revision)
	for _, o := range workloads() {
		excused, gone := c.excused(refOf(o))
		if gone {
			continue
		}
		labtest.Eventually(t, refOf(o).String()+" is on "+revision, func(ctx context.Context) string { return c.incomplete(ctx, o, revision) })
		now, err := c.restarts(t.Context(), o)
		if err != nil {
			t.Error(err)
		}
		if n := now - c.before[refOf(o)]; n < moves || n > moves+int64(excused) {
			t.Errorf("%s was restarted %d times: want %d, and %d more at most for what was done by hand and for retries", refOf(o), n, moves, excused)
		}
	}
}
