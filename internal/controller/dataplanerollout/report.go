package dataplanerollout

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

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

// seen waits until the cache shows the move of an action. It gives up after a few seconds: the worst that a stale cache
// does is a write that changes nothing.
func (r *Reconciler) seen(ctx context.Context, a rollout.Action) error {
	var o client.Object
	switch a.Ref.Kind {
	case mesh.KindDeployment:
		o = &appsv1.Deployment{}
	case mesh.KindStatefulSet:
		o = &appsv1.StatefulSet{}
	case mesh.KindDaemonSet:
		o = &appsv1.DaemonSet{}
	default:
		return nil
	}
	key := types.NamespacedName{Namespace: a.Ref.Namespace, Name: a.Ref.Name}
	err := wait.PollUntilContextTimeout(ctx, 5*time.Millisecond, 5*time.Second, true, func(ctx context.Context) (bool, error) {
		if err := r.Client.Get(ctx, key, o); err != nil {
			return false, err
		}
		if a.Restore {
			return o.GetAnnotations()[v1alpha1.StrategyAnnotation] == "", nil
		}
		var m mesh.Move
		text := o.GetAnnotations()[v1alpha1.MoveAnnotation]
		return json.Unmarshal([]byte(text), &m) == nil && m.To == a.Target && m.Rollout == a.Record.Rollout && m.Attempt >= a.Record.Attempt, nil
	})
	if wait.Interrupted(err) {
		return nil
	}
	return err
}

// report writes the status, once, and only when it differs.
func (r *Reconciler) report(ctx context.Context, ro *v1alpha1.DataPlaneRollout, in rollout.Input, out rollout.Outcome, refused []v1alpha1.WorkloadFailure, actErr error) error {
	before := ro.DeepCopy()
	st := &ro.Status
	st.ObservedGeneration = ro.Generation
	st.Failures = r.failures(ctx, in, slices.Concat(refused, out.Failures))
	out.Counts.Failed += int32(min(len(refused), 1<<20)) // #nosec G115 -- bounded
	out.Counts.Pending -= min(out.Counts.Pending, int32(min(len(refused), 1<<20)))
	st.Counts, st.Progress = out.Counts, rollout.Summary(out.Counts)
	st.Waves = out.Waves
	st.Moving = out.Moving[:min(maxMoving, len(out.Moving))]
	st.Warnings = out.Warnings[:min(maxWarnings, len(out.Warnings))]
	now := metav1.NewTime(in.Now)
	if st.StartedAt == nil {
		st.StartedAt = &now
	}
	r.conditions(ro, in, out, actErr, len(refused))
	if Complete(ro) && st.CompletedAt == nil {
		st.CompletedAt = &now
		r.Recorder.Eventf(ro, nil, corev1.EventTypeNormal, v1alpha1.ConditionComplete, "Complete", "%s", st.Progress)
	}
	return r.write(ctx, before, ro)
}

func (r *Reconciler) conditions(ro *v1alpha1.DataPlaneRollout, in rollout.Input, out rollout.Outcome, actErr error, refused int) {
	st := &ro.Status
	complete := out.Complete && refused == 0 && actErr == nil
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
		if out.Undecided || refused > 0 {
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
