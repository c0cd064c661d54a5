package hubwebhook

import (
	"context"
	"fmt"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
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
	by, dry, deletes := "somebody", false, false
	if req, err := admission.RequestFromContext(ctx); err == nil {
		by, dry, deletes = req.UserInfo.Username, req.DryRun != nil && *req.DryRun, req.Operation == admissionv1.Delete
	}
	message := fmt.Sprintf("%s overrode a refusal, because %q; it was: %s", by, reason, v.Message)
	if !dry {
		log.FromContext(ctx).Info("a refusal was overridden", "by", by, "reason", reason, "object", object.GetName(), "mesh", mesh, "refusal", v.Message)
		m := &hub.Mesh{ObjectMeta: metav1.ObjectMeta{Name: mesh}}
		_ = g.Client.Get(ctx, types.NamespacedName{Name: mesh}, m) // the event is as good without its UID
		g.Recorder.Eventf(m, nil, corev1.EventTypeWarning, hub.ReasonBrokenGlass, "Override", "%s", status.Clip(message, 1000))
		g.record(ctx, m, object, message, deletes)
	}
	return admission.Warnings{"the refusal is overridden and the reason is recorded: " + v.Message}, nil
}

const (
	recordEvery  = 100 * time.Millisecond
	recordWithin = 30 * time.Second
	// editWithin is how long the edit that is being admitted may take until it is stored.
	editWithin = 5 * time.Second
)

// record writes the history of the mesh at once, except when the mesh itself is being edited: written before that, it would make
// the edit a conflict.
func (g *glass) record(ctx context.Context, m *hub.Mesh, object client.Object, message string, deletes bool) {
	entry := v1alpha1.HistoryEntry{At: metav1.NewTime(g.Clock.Now()), Message: status.Clip(message, 512)}
	edited, isMesh := object.(*hub.Mesh)
	written := !isMesh && g.write(ctx, m.Name, entry) == nil
	ctx = context.WithoutCancel(ctx)
	if !written {
		go g.keep(ctx, m.Name, entry, edited.DeepCopy())
	}
	if mc, ok := object.(*hub.MemberCluster); ok {
		go g.mend(ctx, mc.DeepCopy(), deletes)
	}
}

// write adds the entry to the history of the mesh.
func (g *glass) write(ctx context.Context, mesh string, entry v1alpha1.HistoryEntry) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		m := &hub.Mesh{}
		if err := g.Client.Get(ctx, types.NamespacedName{Name: mesh}, m); err != nil {
			return err
		}
		m.Status.History = status.Record(m.Status.History, entry)
		return g.Client.Status().Update(ctx, m)
	})
}

// keep writes the entry when the edit of the mesh, if there is one, is stored.
func (g *glass) keep(ctx context.Context, mesh string, entry v1alpha1.HistoryEntry, edited *hub.Mesh) {
	_ = wait.PollUntilContextTimeout(ctx, recordEvery, editWithin, true, func(ctx context.Context) (bool, error) { // or never: another plugin may refuse it
		m := &hub.Mesh{}
		err := g.Client.Get(ctx, types.NamespacedName{Name: mesh}, m)
		return err == nil && (edited == nil || apiequality.Semantic.DeepEqual(m.Spec, edited.Spec)), nil
	})
	err := wait.PollUntilContextTimeout(ctx, recordEvery, recordWithin, true, func(ctx context.Context) (bool, error) {
		return g.write(ctx, mesh, entry) == nil, nil
	})
	if err != nil {
		log.FromContext(ctx).Error(err, "an override is not in the history of its mesh", "mesh", mesh, "message", entry.Message)
	}
}

// mend takes the reason off a cluster when the edit is stored, so that it counts for this edit only. That of a mesh is taken off by
// its controller, when the configuration has reached the clusters.
func (g *glass) mend(ctx context.Context, mc *hub.MemberCluster, deletes bool) {
	if deletes { // the reason must not go before the cluster does
		g.until(ctx, editWithin, func(now *hub.MemberCluster, err error) bool {
			return apierrors.IsNotFound(err) || err == nil && !now.DeletionTimestamp.IsZero()
		}, mc.Name)
	}
	stored := g.until(ctx, recordWithin, func(now *hub.MemberCluster, err error) bool {
		switch {
		case apierrors.IsNotFound(err):
			return mc.ResourceVersion != "" // else it is not created yet
		case err != nil || now.Spec.Mesh != mc.Spec.Mesh || now.Annotations[hub.BreakGlassAnnotation] != mc.Annotations[hub.BreakGlassAnnotation]:
			return false
		}
		before := now.DeepCopy()
		delete(now.Annotations, hub.BreakGlassAnnotation)
		return client.IgnoreNotFound(g.Client.Patch(ctx, now, client.MergeFrom(before))) == nil
	}, mc.Name)
	if !stored {
		log.FromContext(ctx).Info("the reason of an override stays on its cluster", "cluster", mc.Name)
	}
}

// until reads the cluster again and again until the function takes it, and reports whether it did in time.
func (g *glass) until(ctx context.Context, within time.Duration, takes func(*hub.MemberCluster, error) bool, name string) bool {
	return wait.PollUntilContextTimeout(ctx, recordEvery, within, false, func(ctx context.Context) (bool, error) {
		now := &hub.MemberCluster{}
		err := g.Client.Get(ctx, types.NamespacedName{Name: name}, now)
		return takes(now, err), nil
	}) == nil
}
