// Package meshupgrade carries a MeshUpgrade through its waves: look (gather.go), decide (package fleet), do (act.go), tell
// (report.go). In each cluster it makes a ClusterUpgrade, and a DataPlaneRollout when it has a pace for it. These belong to the
// cluster: they go on without the hub, and stay when the MeshUpgrade is deleted.
package meshupgrade

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/fleet"
	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/retry"
)

// Members reaches the clusters; package member implements it.
type Members interface {
	// Client is live, and fails at once while the cluster does not answer.
	Client(cluster string) (client.Client, error)
	// Cached shows what watches brought.
	Cached(cluster string) (client.Reader, error)
}

// Options of the controller.
type Options struct {
	Client   client.Client
	Members  Members
	Recorder events.EventRecorder
	Clock    clock.Clock
}

// Reconciler carries MeshUpgrades forward.
type Reconciler struct{ Options }

const (
	limit   = 10 * time.Second
	again   = 15 * time.Second
	workers = 8
)

// Reconcile makes one pass.
func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	u := &hub.MeshUpgrade{}
	if err := r.Client.Get(ctx, req.NamespacedName, u); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !u.DeletionTimestamp.IsZero() || finished(u) {
		return reconcile.Result{}, nil // history
	}
	clusters, err := r.gather(ctx, u)
	if err != nil {
		return reconcile.Result{}, err
	}
	refused, err := r.accept(ctx, u, clusters)
	if err != nil {
		return reconcile.Result{}, err
	}
	d := fleet.Waves(fleet.WavesInput{Spec: u.Spec, Name: u.Name, Before: u.Status.Clusters, Clusters: observations(clusters), Now: r.Clock.Now()})
	var started []string
	if refused.Passed() {
		started = r.act(ctx, u, &d, clusters)
	}
	if err := r.report(ctx, u, d, refused, started); err != nil {
		if apierrors.IsConflict(err) {
			return reconcile.Result{RequeueAfter: 50 * time.Millisecond}, nil // the cache was behind: look again
		}
		return reconcile.Result{}, err
	}
	if d.Again > 0 && d.Again < again {
		return reconcile.Result{RequeueAfter: d.Again}, nil
	}
	return reconcile.Result{RequeueAfter: again}, nil
}

func finished(u *hub.MeshUpgrade) bool {
	return meta.IsStatusConditionTrue(u.Status.Conditions, hub.ConditionDecommissioned) && meta.IsStatusConditionTrue(u.Status.Conditions, hub.ConditionReady)
}

// accept says whether the upgrade may start. What was accepted once stays accepted.
func (r *Reconciler) accept(ctx context.Context, u *hub.MeshUpgrade, clusters []cluster) (gate.Verdict, error) {
	if meta.IsStatusConditionTrue(u.Status.Conditions, hub.ConditionAccepted) {
		return gate.Pass(), nil
	}
	err := r.Client.Get(ctx, types.NamespacedName{Name: u.Spec.Mesh}, &hub.Mesh{})
	if apierrors.IsNotFound(err) {
		return gate.Block(v1alpha1.ReasonUserAction, "there is no mesh %q: create it, or delete this upgrade", u.Spec.Mesh), nil
	}
	if err != nil {
		return gate.Verdict{}, fmt.Errorf("read Mesh %q: %w", u.Spec.Mesh, err)
	}
	others := &hub.MeshUpgradeList{}
	if err := r.Client.List(ctx, others); err != nil {
		return gate.Verdict{}, fmt.Errorf("list the upgrades: %w", err)
	}
	older := others.Items[:0]
	for _, o := range others.Items {
		// Of several the one that was accepted goes on, else the oldest.
		if meta.IsStatusConditionTrue(o.Status.Conditions, hub.ConditionAccepted) || o.CreationTimestamp.Before(&u.CreationTimestamp) ||
			o.CreationTimestamp.Equal(&u.CreationTimestamp) && o.Name < u.Name {
			older = append(older, o)
		}
	}
	var known []fleet.Member
	for _, c := range clusters {
		known = append(known, c.Member)
	}
	return fleet.StartUpgrade(u, older, known), nil
}

// SetupWithManager registers the controller; changes makes a source of "something changed in this cluster".
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, changes func(func(ctx context.Context, cluster string) []reconcile.Request) source.Source) error {
	ofMesh := func(ctx context.Context, mesh string) []reconcile.Request {
		list := &hub.MeshUpgradeList{}
		if err := mgr.GetClient().List(ctx, list); err != nil {
			return nil
		}
		var out []reconcile.Request
		for n := range list.Items {
			if u := &list.Items[n]; u.Spec.Mesh == mesh && !finished(u) {
				out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Name: u.Name}})
			}
		}
		return out
	}
	err := ctrl.NewControllerManagedBy(mgr).Named("meshupgrade").
		For(&hub.MeshUpgrade{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&hub.MemberCluster{}, handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
			return ofMesh(ctx, o.(*hub.MemberCluster).Spec.Mesh)
		})).
		WatchesRawSource(changes(func(ctx context.Context, cluster string) []reconcile.Request {
			mc := &hub.MemberCluster{}
			if err := mgr.GetClient().Get(ctx, types.NamespacedName{Name: cluster}, mc); err != nil {
				return nil
			}
			return ofMesh(ctx, mc.Spec.Mesh)
		})).
		WithOptions(retry.Options(workers)).
		Complete(r)
	if err != nil {
		return fmt.Errorf("register the MeshUpgrade controller: %w", err)
	}
	return nil
}
