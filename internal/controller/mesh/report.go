package mesh

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/fleet"
	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/status"
)

type instant = time.Time

// maxOld is how many old istiods a status lists.
const maxOld = 100

// report writes the status, and with it the turn, under optimistic lock, and only when it differs. It returns the conflict as it is.
func (r *Reconciler) report(ctx context.Context, m *hub.Mesh, clusters []cluster, turn fleet.TurnDecision) error {
	before := m.DeepCopy()
	st := &m.Status
	all := members(clusters)
	old := fleet.OldIstiods(all)
	var unknown []string
	for _, c := range clusters {
		if !c.Known {
			unknown = append(unknown, c.Name)
		}
	}
	now := metav1.NewTime(r.Clock.Now())
	if n := int32(len(clusters)); n != st.Clusters { // #nosec G115 -- a hub has fewer than 2^31 clusters
		st.Clusters = n
		st.History = status.Record(st.History, v1alpha1.HistoryEntry{At: now, Message: status.Clip("the mesh has "+gate.Count(len(clusters), "cluster")+": "+names(clusters), 512)})
	}
	if turn.Story != "" {
		st.History = status.Record(st.History, v1alpha1.HistoryEntry{At: now, Step: 5, Message: status.Clip(turn.Story, 512)})
	}
	st.ObservedGeneration, st.Connected = m.Generation, st.Clusters-int32(len(unknown)) // #nosec G115 -- as above
	st.IstioVersions, st.OldIstiods, st.Turn = fleet.Versions(all), old[:min(len(old), maxOld)], turn.Turn
	frozen, reason, message := fleet.State(old)
	status.Set(&st.Conditions, m.Generation, hub.ConditionFrozen, frozen, reason, message)
	configured, reason, message := sidecars(m, clusters)
	status.Set(&st.Conditions, m.Generation, hub.ConditionSidecarsConfigured, configured, reason, message)
	switch {
	case len(clusters) == 0:
		status.Set(&st.Conditions, m.Generation, hub.ConditionReady, false, v1alpha1.ReasonUserAction, "the mesh has no clusters: register one with `meshlift cluster add`")
	case len(unknown) > 0:
		status.Set(&st.Conditions, m.Generation, hub.ConditionReady, false, hub.ReasonNotConnected, fmt.Sprintf("%s not known: %s; see `meshlift cluster list`", are(len(unknown)), gate.List(unknown)))
	case len(old) > 0:
		status.Set(&st.Conditions, m.Generation, hub.ConditionReady, true, v1alpha1.ReasonInProgress, "old istiods are left: "+fleet.Names(old))
	default:
		status.Set(&st.Conditions, m.Generation, hub.ConditionReady, true, v1alpha1.ReasonDone, "every cluster is connected, and no old istiod exists")
	}
	if !apiequality.Semantic.DeepEqual(before.Status, *st) {
		if err := r.Client.Status().Update(ctx, m); err != nil {
			return fmt.Errorf("write the status of Mesh %q: %w", m.Name, err)
		}
	}
	if turn.Story != "" {
		r.Recorder.Eventf(m, nil, corev1.EventTypeNormal, "Turn", "Decommission", "%s", status.Clip(turn.Story, 1000))
	}
	return r.mendGlass(ctx, m, configured, frozen)
}

// mendGlass takes the override away when what it was given for has happened.
func (r *Reconciler) mendGlass(ctx context.Context, m *hub.Mesh, configured, frozen bool) error {
	if m.Annotations[hub.BreakGlassAnnotation] == "" || !configured && frozen {
		return nil
	}
	before := m.DeepCopy()
	delete(m.Annotations, hub.BreakGlassAnnotation)
	if err := r.Client.Patch(ctx, m, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("take the override off Mesh %q: %w", m.Name, err)
	}
	return nil
}

func are(n int) string {
	if n == 1 {
		return "1 cluster is"
	}
	return gate.Count(n, "cluster") + " are"
}

func names(clusters []cluster) string {
	var out []string
	for _, c := range clusters {
		out = append(out, c.Name)
	}
	return strings.Join(out, ", ")
}

// sidecars says whether every cluster has the configuration of sidecars.
func sidecars(m *hub.Mesh, clusters []cluster) (done bool, reason, message string) {
	if m.Spec.Sidecars == nil {
		return true, v1alpha1.ReasonDone, "the mesh configures nothing; each cluster has what its istiods say"
	}
	var missing []string
	for _, c := range clusters {
		switch cp := c.controlPlane; {
		case !c.Known || cp == nil:
			missing = append(missing, c.Name+" does not answer")
		case !apiequality.Semantic.DeepEqual(cp.Spec.Sidecars, m.Spec.Sidecars):
			missing = append(missing, c.Name+" does not have it yet")
		default:
			s := meta.FindStatusCondition(cp.Status.Conditions, v1alpha1.ConditionSidecarsConfigured)
			if s == nil || s.ObservedGeneration != cp.Generation && s.Status == metav1.ConditionTrue {
				missing = append(missing, c.Name+" has not brought it to its istiods yet")
			} else if s.Status != metav1.ConditionTrue {
				missing = append(missing, c.Name+": "+s.Message)
			}
		}
	}
	if len(missing) > 0 {
		return false, v1alpha1.ReasonInProgress, "the configuration of sidecars has not reached every cluster: " + gate.List(missing)
	}
	return true, v1alpha1.ReasonDone, "every cluster has the configuration of sidecars; pods get it when they are created next"
}
