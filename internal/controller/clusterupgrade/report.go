package clusterupgrade

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/status"
	"meshlift.dev/meshlift/internal/upgrade"
)

// report writes the status, once, and only when it differs.
func (r *Reconciler) report(ctx context.Context, before, cu *v1alpha1.ClusterUpgrade, d upgrade.Decision, actErr error) error {
	st := &cu.Status
	st.ObservedGeneration = cu.Generation
	st.DataPlanes, st.EnvoyFilters, st.Step = d.DataPlanes, d.EnvoyFilters, d.Step
	st.Blockers, st.BlockersOmitted = d.Blockers, d.BlockersOmitted
	steps := explain(d, actErr)
	summary := steps[len(steps)-1]
	for n := len(steps) - 1; n >= 0; n-- {
		if !steps[n].Done {
			summary = steps[n]
		}
	}
	for n, step := range steps {
		was := meta.FindStatusCondition(before.Status.Conditions, step.Type)
		status.Set(&st.Conditions, cu.Generation, step.Type, step.Done, step.Reason, step.Message)
		if step.Reason != v1alpha1.ReasonWaiting && (was == nil || was.Reason != step.Reason || (was.Status == metav1.ConditionTrue) != step.Done) {
			st.History = status.Record(st.History, v1alpha1.HistoryEntry{At: metav1.NewTime(r.Clock.Now()), Step: int32(n), Message: status.Clip(step.Message, 512)}) // #nosec G115 -- n is 0 to 5
			r.event(cu, step)
		}
	}
	if told := func(h v1alpha1.HistoryEntry) bool { return h.Message == status.Clip(d.Glass, 512) }; d.Glass != "" && !slices.ContainsFunc(st.History, told) {
		st.History = status.Record(st.History, v1alpha1.HistoryEntry{At: metav1.NewTime(r.Clock.Now()), Step: 5, Message: status.Clip(d.Glass, 512)})
		r.Recorder.Eventf(cu, nil, corev1.EventTypeWarning, hub.ReasonBrokenGlass, v1alpha1.ConditionDecommissioned, "%s", status.Clip(d.Glass, 1000))
	}
	status.Set(&st.Conditions, cu.Generation, v1alpha1.ConditionReady, d.Done() && actErr == nil, summary.Reason, summary.Message)
	if apiequality.Semantic.DeepEqual(before.Status, *st) {
		return nil
	}
	if err := r.Client.Status().Update(ctx, cu); err != nil {
		return fmt.Errorf("write the status of ClusterUpgrade %q: %w", cu.Name, err)
	}
	return nil
}

// explain puts the error of the action into the step that wanted it.
func explain(d upgrade.Decision, actErr error) []upgrade.Step {
	steps := slices.Clone(d.Steps)
	if actErr == nil {
		return steps
	}
	n := slices.IndexFunc(steps, func(s upgrade.Step) bool { return s.Type == d.Action.Step() })
	if n < 0 {
		return steps
	}
	steps[n].Reason, steps[n].Message = v1alpha1.ReasonError, fmt.Sprintf("Meshlift tries again: %v", actErr)
	var failed *installFailure
	if errors.As(actErr, &failed) {
		steps[n].Reason, steps[n].Message = v1alpha1.ReasonInstallFailed, failed.message
	}
	return steps
}

func (r *Reconciler) event(cu *v1alpha1.ClusterUpgrade, step upgrade.Step) {
	kind := corev1.EventTypeNormal
	switch step.Reason {
	case v1alpha1.ReasonDone, v1alpha1.ReasonInProgress, v1alpha1.ReasonSoaking, v1alpha1.ReasonUserAction, v1alpha1.ReasonPaused:
	default:
		kind = corev1.EventTypeWarning
	}
	r.Recorder.Eventf(cu, nil, kind, step.Type, step.Reason, "%s", status.Clip(step.Message, 1000))
}

func (r *Reconciler) refuseDeletion(ctx context.Context, cu *v1alpha1.ClusterUpgrade, v gate.Verdict) (reconcile.Result, error) {
	before := cu.DeepCopy()
	status.Set(&cu.Status.Conditions, cu.Generation, v1alpha1.ConditionReady, false, v1alpha1.ReasonAborted, v.Message)
	if !apiequality.Semantic.DeepEqual(before.Status, cu.Status) {
		if err := r.Client.Status().Update(ctx, cu); err != nil {
			return reconcile.Result{}, fmt.Errorf("write the status of ClusterUpgrade %q: %w", cu.Name, err)
		}
	}
	return reconcile.Result{RequeueAfter: 15 * time.Second}, nil
}
