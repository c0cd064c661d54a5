// Package controlplane keeps the status of the ControlPlane object: which revisions the cluster has, who uses them and
// why, and where they can be upgraded to.
package controlplane

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/catalog"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/retry"
	"meshlift.dev/meshlift/internal/status"
)

// Observer reads the cluster.
type Observer interface {
	Inventory(ctx context.Context) (*mesh.Inventory, error)
}

// Reconciler keeps the ControlPlane up to date.
type Reconciler struct {
	Client   client.Client
	Observer Observer
	Catalog  func(ctx context.Context) (catalog.Catalog, error)
}

// Request is the one object.
func Request() reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: v1alpha1.SingletonName}}
}

// Reconcile makes one pass.
func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	cp := &v1alpha1.ControlPlane{}
	if err := r.Client.Get(ctx, req.NamespacedName, cp); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	inv, err := r.Observer.Inventory(ctx)
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("read the mesh: %w", err)
	}
	cat, err := r.Catalog(ctx)
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("read the catalog: %w", err)
	}
	before := cp.DeepCopy()
	describe(cp, inv, cat)
	if apiequality.Semantic.DeepEqual(before.Status, cp.Status) {
		return reconcile.Result{RequeueAfter: 5 * time.Minute}, nil // the version of Kubernetes raises no event
	}
	if err := r.Client.Status().Update(ctx, cp); err != nil {
		if apierrors.IsConflict(err) {
			return reconcile.Result{RequeueAfter: 50 * time.Millisecond}, nil // the cache was behind: look again
		}
		return reconcile.Result{}, fmt.Errorf("write the status of the ControlPlane: %w", err)
	}
	return reconcile.Result{RequeueAfter: 5 * time.Minute}, nil
}

// describe fills the status; it is pure.
func describe(cp *v1alpha1.ControlPlane, inv *mesh.Inventory, cat catalog.Catalog) {
	st := &cp.Status
	st.ObservedGeneration, st.KubernetesVersion = cp.Generation, inv.KubernetesVersion
	uses := mesh.Uses(inv)
	st.Revisions = nil
	var versions, broken []string
	for _, rev := range inv.Revisions {
		s := v1alpha1.RevisionStatus{
			Name: rev.Name, Version: rev.Version, InstalledBy: v1alpha1.InstallMethod(rev.InstalledBy), Release: rev.Release,
			Replicas: rev.Replicas, ReadyReplicas: rev.ReadyReplicas, Tags: rev.Tags,
			Uses: uses[rev.Name], UpgradeTo: cat.Targets(rev.Version, inv.KubernetesVersion),
		}
		for _, w := range inv.Workloads {
			switch {
			case !w.Uses(rev.Name):
			case w.Role.IsGateway():
				s.Gateways++
			default:
				s.Sidecars++
			}
		}
		st.Revisions = append(st.Revisions, s)
		versions = append(versions, rev.Version)
		if rev.ReadyReplicas < rev.Replicas || rev.Replicas == 0 {
			broken = append(broken, fmt.Sprintf("%s (%d of %d ready)", rev.Name, rev.ReadyReplicas, rev.Replicas))
		}
	}
	st.IstioVersions = strings.Join(slices.Compact(versions), ", ")
	switch {
	case len(inv.Revisions) == 0:
		status.Set(&st.Conditions, cp.Generation, v1alpha1.ConditionReady, false, "NoIstio", fmt.Sprintf("there is no istiod in namespace %s", inv.IstioNamespace))
	case len(broken) > 0:
		status.Set(&st.Conditions, cp.Generation, v1alpha1.ConditionReady, false, v1alpha1.ReasonNotReady, "not every istiod is ready: "+strings.Join(broken, ", "))
	default:
		status.Set(&st.Conditions, cp.Generation, v1alpha1.ConditionReady, true, v1alpha1.ReasonDone, "every istiod is ready")
	}
}

// Ensure creates the object when it does not exist.
func Ensure(ctx context.Context, c client.Client, istioNamespace string) error {
	cp := &v1alpha1.ControlPlane{Spec: v1alpha1.ControlPlaneSpec{IstioNamespace: istioNamespace}}
	cp.Name = v1alpha1.SingletonName
	if err := c.Create(ctx, cp); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create the ControlPlane: %w", err)
	}
	return nil
}

// SetupWithManager registers the controller; cluster maps events of the mesh to the one object.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, cluster func(ctrl.Manager, *builder.Builder) *builder.Builder) error {
	b := ctrl.NewControllerManagedBy(mgr).For(&v1alpha1.ControlPlane{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).Named("controlplane").WithOptions(retry.Options(1))
	return cluster(mgr, b).Complete(r)
}
