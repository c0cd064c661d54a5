package dataplanerollout

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/rollout"
	"meshlift.dev/meshlift/internal/status"
)

// Bounds of the status.
const (
	maxMoving   = 100
	maxFailures = 50
	maxWarnings = 50
)

// tellInterval is how often a status is written when nothing differs but the counts and what is moving; everything else
// is written at once. landInterval is how long an action that has landed waits for others.
const (
	tellInterval = time.Second
	landInterval = 20 * time.Millisecond
)

// report writes the status, once, and only when it differs. told is false when only counts differ: those are written now and
// then, and not by this pass.
func (r *Reconciler) report(ctx context.Context, ro *v1alpha1.DataPlaneRollout, in rollout.Input, out rollout.Outcome, now standing) (told bool, err error) {
	before := ro.DeepCopy()
	st := &ro.Status
	st.ObservedGeneration = ro.Generation
	st.Failures = r.failures(ctx, in, out.Failures)
	st.Counts, st.Progress = out.Counts, rollout.Summary(out.Counts)
	st.Waves = out.Waves
	st.Moving = moving(out.Moving, now.waiting)
	st.Warnings = out.Warnings[:min(maxWarnings, len(out.Warnings))]
	at := metav1.NewTime(in.Now)
	if st.StartedAt == nil {
		st.StartedAt = &at
		st.Forecast = rollout.Foresee(&ro.Spec, in.Inventory, in.From, in.To).API()
	}
	conditions(ro, in, out, now.err)
	if Complete(ro) && st.CompletedAt == nil {
		st.CompletedAt = &at
		r.Recorder.Eventf(ro, nil, corev1.EventTypeNormal, v1alpha1.ConditionComplete, "Complete", "%s", st.Progress)
	}
	if apiequality.Semantic.DeepEqual(before.Status, ro.Status) {
		return true, nil
	}
	r.announce(ro, before.Status.Failures)
	m := r.motion(ro.Name)
	if onlyCounts(before.Status, ro.Status) {
		told := ro.DeepCopy() // the pass goes on with the rest
		m.tell(func() error { return r.write(r.lasting(ctx), before, told) })
		return false, nil
	}
	m.teller.said(time.Now())
	return true, r.write(ctx, before, ro)
}

// teller writes a status that says how far a rollout is, at most once in an interval and beside the passes: moves are not to wait
// for it. It may fail; the next pass finds the status as it is and tells again.
type teller struct {
	mu   sync.Mutex
	told time.Time
	busy bool
}

func (t *teller) tell(write func() error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.busy || time.Since(t.told) < tellInterval {
		return
	}
	t.busy, t.told = true, time.Now()
	go func() {
		_ = write()
		t.mu.Lock()
		defer t.mu.Unlock()
		t.busy = false
	}()
}

func (t *teller) said(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.told = at
}

// moving bounds the list and says what evictions wait for; a bare pod is in it only while it waits.
func moving(list []v1alpha1.WorkloadProgress, waiting map[mesh.Ref]string) []v1alpha1.WorkloadProgress {
	waiting = maps.Clone(waiting)
	for n := range list {
		p := &list[n]
		ref := mesh.Ref{Kind: p.Kind, Namespace: p.Namespace, Name: p.Name}
		if why := waiting[ref]; why != "" {
			p.Message = status.Clip(p.Message+"; "+why, 1024)
		}
		delete(waiting, ref)
	}
	for _, ref := range slices.SortedFunc(maps.Keys(waiting), mesh.Ref.Compare) {
		list = append(list, v1alpha1.WorkloadProgress{WorkloadReference: rollout.Reference(ref), Attempt: 1, Message: status.Clip(waiting[ref], 1024)})
	}
	return list[:min(maxMoving, len(list))]
}

// onlyCounts tells whether two statuses differ, and only in what changes with every workload.
func onlyCounts(before, after v1alpha1.DataPlaneRolloutStatus) bool {
	if apiequality.Semantic.DeepEqual(before, after) {
		return false
	}
	after.Counts, after.Progress, after.Moving = before.Counts, before.Progress, before.Moving
	return apiequality.Semantic.DeepEqual(before, after)
}

func conditions(ro *v1alpha1.DataPlaneRollout, in rollout.Input, out rollout.Outcome, actErr error) {
	st := &ro.Status
	complete := out.Complete && actErr == nil
	reason, message := v1alpha1.ReasonInProgress, "moves are in progress"
	switch {
	case complete && ro.Spec.Stopped && out.Counts.Pending+out.Counts.Failed > 0:
		reason, message = v1alpha1.ReasonStopped, "the rollout was stopped; what had moved stays moved"
	case complete:
		reason, message = v1alpha1.ReasonDone, "nothing is left to move"
	case ro.Spec.Stopped:
		reason, message = v1alpha1.ReasonStopped, "the rollout was stopped; moves in flight finish"
	case ro.Spec.Paused:
		reason, message = v1alpha1.ReasonPaused, "the rollout is paused; moves in flight finish"
	case out.Held != "":
		reason, message = v1alpha1.ReasonWaiting, out.Held
	}
	status.Set(&st.Conditions, ro.Generation, v1alpha1.ConditionComplete, complete, reason, message)
	switch {
	case actErr != nil:
		status.Set(&st.Conditions, ro.Generation, v1alpha1.ConditionHealthy, false, v1alpha1.ReasonError, fmt.Sprintf("Meshlift tries again: %v", actErr))
	case len(st.Failures) > 0:
		message := st.Failures[0].Message
		if out.Undecided {
			message += "; retry, skip or move it back with \"meshlift rollout\""
		}
		status.Set(&st.Conditions, ro.Generation, v1alpha1.ConditionHealthy, false, v1alpha1.ReasonFailed, message)
	default:
		status.Set(&st.Conditions, ro.Generation, v1alpha1.ConditionHealthy, true, v1alpha1.ReasonDone, "no move has failed")
	}
}

// failures bounds the list and adds the pod events of failures that have none yet.
func (r *Reconciler) failures(ctx context.Context, in rollout.Input, list []v1alpha1.WorkloadFailure) []v1alpha1.WorkloadFailure {
	list = list[:min(maxFailures, len(list))]
	for n := range list {
		f := &list[n]
		f.Message = status.Clip(f.Message, 1024)
		if len(f.Events) > 0 {
			continue
		}
		w, _ := in.Inventory.Workload(mesh.Ref{Kind: f.Kind, Namespace: f.Namespace, Name: f.Name})
		var pods []string
		for _, p := range w.Pods {
			if !p.Ready {
				pods = append(pods, p.Name)
			}
		}
		if len(pods) == 0 {
			continue
		}
		// Events are there to help a person; a failure to read them must not hide the failure itself.
		if events, err := r.Observer.PodEvents(ctx, f.Namespace, pods); err == nil {
			f.Events = events
		}
	}
	return list
}

// announce tells as an event what a health gate has stopped since the last status.
func (r *Reconciler) announce(ro *v1alpha1.DataPlaneRollout, before []v1alpha1.WorkloadFailure) {
	for n := range ro.Status.Failures {
		f := &ro.Status.Failures[n]
		if f.Gate == nil || f.Reason == v1alpha1.FailureMovedBack || recorded(before, *f) {
			continue
		}
		r.Recorder.Eventf(ro, nil, corev1.EventTypeWarning, f.Reason, "Gate", "%s", status.Clip(f.Message, 1024))
	}
}

// refuse says why the rollout does not start.
func (r *Reconciler) refuse(ctx context.Context, ro *v1alpha1.DataPlaneRollout, v gate.Verdict) error {
	before := ro.DeepCopy()
	ro.Status.ObservedGeneration = ro.Generation
	if v.Passed() {
		v = gate.Wait(v1alpha1.ReasonWaiting, "ClusterUpgrade %q is not accepted yet: see \"meshlift status\"", ro.Spec.Upgrade)
	}
	stopped := ro.Spec.Stopped
	status.Set(&ro.Status.Conditions, ro.Generation, v1alpha1.ConditionComplete, stopped, v.Reason, v.Message)
	return r.write(ctx, before, ro)
}

func (r *Reconciler) write(ctx context.Context, before, ro *v1alpha1.DataPlaneRollout) error {
	if apiequality.Semantic.DeepEqual(before.Status, ro.Status) {
		return nil
	}
	if err := r.Client.Status().Update(ctx, ro); err != nil {
		return fmt.Errorf("write the status of DataPlaneRollout %q: %w", ro.Name, err)
	}
	return nil
}
