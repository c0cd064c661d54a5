package meshupgrade

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/fleet"
	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/status"
)

// report writes the status, once, and only when it differs.
func (r *Reconciler) report(ctx context.Context, u *hub.MeshUpgrade, d fleet.WavesDecision, refused gate.Verdict, started []string) error {
	before := u.DeepCopy()
	st, generation := &u.Status, u.Generation
	total := int32(len(d.Clusters)) // #nosec G115 -- an upgrade has at most 50000 clusters
	st.ObservedGeneration, st.Wave, st.Clusters, st.Moved, st.Total = generation, d.Wave, d.Clusters, d.Moved, total
	if !refused.Passed() {
		status.Set(&st.Conditions, generation, hub.ConditionAccepted, false, refused.Reason, refused.Message)
		status.Set(&st.Conditions, generation, v1alpha1.ConditionReady, false, refused.Reason, refused.Message)
		r.remember(u, before, refused.Reason, refused.Message, corev1.EventTypeWarning)
		return r.write(ctx, before, u)
	}
	status.Set(&st.Conditions, generation, hub.ConditionAccepted, true, v1alpha1.ReasonDone, fmt.Sprintf("%s of mesh %s may be upgraded to Istio %s", gate.Count(int(total), "cluster"), u.Spec.Mesh, u.Spec.Version))
	moved, gone := total > 0 && d.Moved == total, total > 0 && d.Gone == total
	if moved {
		status.Set(&st.Conditions, generation, hub.ConditionDataPlanesMoved, true, v1alpha1.ReasonDone, "every cluster has moved its data planes")
	} else {
		status.Set(&st.Conditions, generation, hub.ConditionDataPlanesMoved, false, d.Reason, d.Message)
	}
	switch {
	case gone:
		status.Set(&st.Conditions, generation, hub.ConditionDecommissioned, true, v1alpha1.ReasonDone, "no old istiod is left")
	case moved:
		status.Set(&st.Conditions, generation, hub.ConditionDecommissioned, false, d.Reason, d.Message)
	default:
		status.Set(&st.Conditions, generation, hub.ConditionDecommissioned, false, v1alpha1.ReasonWaiting, "waits until every cluster has moved")
	}
	status.Set(&st.Conditions, generation, v1alpha1.ConditionReady, gone, d.Reason, d.Message)
	if len(started) > 0 {
		r.remember(u, before, "Started", fmt.Sprintf("wave %s: the upgrade of %s is started", d.Wave, strings.Join(started, ", ")), corev1.EventTypeNormal)
	}
	if d.Reason != v1alpha1.ReasonInProgress {
		kind := corev1.EventTypeNormal
		if d.Reason == v1alpha1.ReasonFailed {
			kind = corev1.EventTypeWarning
		}
		r.remember(u, before, d.Reason, d.Message, kind)
	}
	return r.write(ctx, before, u)
}

// remember adds to the history, and tells as an event, what was not the last thing that was told.
func (r *Reconciler) remember(u, before *hub.MeshUpgrade, reason, message, kind string) {
	if c := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionReady); c != nil && c.Reason == reason && c.Message == message {
		return
	}
	u.Status.History = status.Record(u.Status.History, v1alpha1.HistoryEntry{At: metav1.NewTime(r.Clock.Now()), Message: status.Clip(message, 512)})
	r.Recorder.Eventf(u, nil, kind, reason, "Upgrade", "%s", status.Clip(message, 1000))
}

func (r *Reconciler) write(ctx context.Context, before, u *hub.MeshUpgrade) error {
	if apiequality.Semantic.DeepEqual(before.Status, u.Status) {
		return nil
	}
	if err := r.Client.Status().Update(ctx, u); err != nil {
		return fmt.Errorf("write the status of MeshUpgrade %q: %w", u.Name, err)
	}
	return nil
}
