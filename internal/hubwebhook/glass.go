package hubwebhook

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/status"
)

// glass lets an edit through that a freeze refuses, when a reason was given for it, and records who, what and why: in the log and
// as an event at once, and in the history of the mesh.
type glass struct{ Options }

// given is the reason that came with this edit; "" for none, or for one that was there before and counted for another edit.
func given[T client.Object](before, after T) string {
	reason := strings.TrimSpace(after.GetAnnotations()[hub.BreakGlassAnnotation])
	if any(before) != any(*new(T)) && strings.TrimSpace(before.GetAnnotations()[hub.BreakGlassAnnotation]) == reason {
		return ""
	}
	return reason
}

// open answers with the verdict, unless there is a reason to override it.
func (g *glass) open(ctx context.Context, v gate.Verdict, mesh string, object client.Object, reason string) (admission.Warnings, error) {
	if v.Passed() || reason == "" {
		return nil, refuse(v)
	}
	by, dry := "somebody", false
	if req, err := admission.RequestFromContext(ctx); err == nil {
		by, dry = req.UserInfo.Username, req.DryRun != nil && *req.DryRun
	}
	message := fmt.Sprintf("%s overrode a refusal, because %q; it was: %s", by, reason, v.Message)
	if !dry {
		log.FromContext(ctx).Info("a refusal was overridden", "by", by, "reason", reason, "object", object.GetName(), "mesh", mesh, "refusal", v.Message)
		m := &hub.Mesh{ObjectMeta: metav1.ObjectMeta{Name: mesh}}
		_ = g.Client.Get(ctx, types.NamespacedName{Name: mesh}, m) // the event is as good without its UID
		g.Recorder.Eventf(m, nil, corev1.EventTypeWarning, hub.ReasonBrokenGlass, "Override", "%s", status.Clip(message, 1000))
		// The mesh itself may be what is being edited, so its history is written when that is over.
		go g.record(context.WithoutCancel(ctx), mesh, object.DeepCopyObject().(client.Object), message)
	}
	return admission.Warnings{"the refusal is overridden and the reason is recorded: " + v.Message}, nil
}

const (
	recordAfter  = time.Second
	recordWithin = 30 * time.Second
)

// record writes the history, and takes the reason off a cluster so that it counts for this edit only. That of a mesh is taken off by
// its controller, when the configuration has reached the clusters.
func (g *glass) record(ctx context.Context, mesh string, object client.Object, message string) {
	entry := v1alpha1.HistoryEntry{At: metav1.NewTime(g.Clock.Now()), Message: status.Clip(message, 512)}
	err := wait.PollUntilContextTimeout(ctx, recordAfter, recordWithin, false, func(ctx context.Context) (bool, error) {
		m := &hub.Mesh{}
		if err := g.Client.Get(ctx, types.NamespacedName{Name: mesh}, m); err != nil {
			return false, nil //nolint:nilerr // it is tried again
		}
		m.Status.History = status.Record(m.Status.History, entry)
		if err := g.Client.Status().Update(ctx, m); err != nil {
			return false, nil //nolint:nilerr // somebody was faster
		}
		return true, nil
	})
	if err != nil {
		log.FromContext(ctx).Error(err, "an override is not in the history of its mesh", "mesh", mesh, "message", message)
	}
	mc, ok := object.(*hub.MemberCluster)
	if !ok {
		return
	}
	now := &hub.MemberCluster{}
	if err := g.Client.Get(ctx, types.NamespacedName{Name: mc.Name}, now); err != nil || now.Annotations[hub.BreakGlassAnnotation] != mc.Annotations[hub.BreakGlassAnnotation] {
		return
	}
	before := now.DeepCopy()
	delete(now.Annotations, hub.BreakGlassAnnotation)
	if err := g.Client.Patch(ctx, now, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
		log.FromContext(ctx).Error(err, "the reason of an override stays on its cluster", "cluster", mc.Name)
	}
}
