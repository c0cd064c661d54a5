package membercluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/status"
)

// hold keeps a MemberCluster that is deleted until the cluster was told.
func (r *Reconciler) hold(ctx context.Context, m *hub.MemberCluster) error {
	before := m.DeepCopy()
	if !controllerutil.AddFinalizer(m, hub.MemberFinalizer) {
		return nil
	}
	if err := r.Client.Patch(ctx, m, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("hold MemberCluster %q: %w", m.Name, err)
	}
	return nil
}

// leave takes away what the hub left in the cluster: its word in the ControlPlane, and its rights. A cluster that does not answer is
// waited for, unless somebody said that it is to be forgotten.
func (r *Reconciler) leave(ctx context.Context, m *hub.MemberCluster) (reconcile.Result, error) {
	if !slices.Contains(m.Finalizers, hub.MemberFinalizer) {
		return reconcile.Result{}, nil
	}
	if m.Annotations[hub.ForgetAnnotation] == "" {
		c, err := r.Links.Client(m.Name)
		if err != nil {
			s := m.Status.DeepCopy()
			status.Set(&s.Conditions, m.Generation, hub.ConditionReady, false, hub.ReasonNotConnected, fmt.Sprintf(
				"cluster %q is being removed and cannot be told, because %v: it goes when it answers, or at once with `meshlift cluster remove %s --force`", m.Name, err, m.Name))
			return reconcile.Result{}, r.report(ctx, m, *s)
		}
		done, err := farewell(ctx, c)
		if err != nil {
			return reconcile.Result{}, fmt.Errorf("take leave of cluster %q: %w", m.Name, err)
		}
		if !done {
			return reconcile.Result{RequeueAfter: lastWord}, nil
		}
	}
	r.told.Delete(m.UID)
	before := m.DeepCopy()
	controllerutil.RemoveFinalizer(m, hub.MemberFinalizer)
	if err := r.Client.Patch(ctx, m, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: soon}, nil
	} else if err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	return reconcile.Result{}, nil
}

// lastWord is how long a pass over the mesh that began before the cluster was removed may still write.
const lastWord = time.Second

// farewell makes the cluster a mesh of its own again; it is done when nobody has told it anything since. The configuration of its
// sidecars stays. The ClusterRole owns the hub's account there and goes last: nothing can be done afterwards.
func farewell(ctx context.Context, c client.Client) (done bool, err error) {
	cp := &v1alpha1.ControlPlane{}
	switch err := c.Get(ctx, client.ObjectKey{Name: v1alpha1.SingletonName}, cp); {
	case apierrors.IsNotFound(err), meta.IsNoMatchError(err): // there is no agent
	case err != nil:
		return false, fmt.Errorf("read its ControlPlane: %w", err)
	case cp.Spec.Hub != nil:
		if err := c.Patch(ctx, cp, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"hub":null}}`)), client.FieldOwner(hub.FieldManager)); client.IgnoreNotFound(err) != nil {
			return false, fmt.Errorf("take spec.hub out of its ControlPlane: %w", err)
		}
		return false, nil
	}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: hub.MemberAccount}}
	err = c.Delete(ctx, role, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
		return false, fmt.Errorf("delete the account of the hub: %w", err)
	}
	return true, nil
}
