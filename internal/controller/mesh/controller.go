// Package mesh keeps Meshes true, and is the only writer of what the hub tells members: spec.hub and spec.sidecars of their
// ControlPlanes. Look (gather.go), decide (package fleet), write the decision down, tell the members (tell.go).
//
// A permission to decommission is written to the Mesh under optimistic lock before the member hears of it, in the same pass as
// the live look that it rests on. So of two hubs, one of which does not know yet that it leads no more, one fails.
package mesh

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/internal/fleet"
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
	Client client.Client
	// Live reads from the API server of the hub.
	Live     client.Reader
	Members  Members
	Recorder events.EventRecorder
	Clock    clock.Clock
}

// Reconciler keeps Meshes.
type Reconciler struct {
	Options
	// told is when a cluster was told something last, so that numbers in a sentence are not written every moment.
	told sync.Map
}

const (
	// limit is how long one cluster may take.
	limit = 10 * time.Second
	// soon is how long to wait while something is under way or a cluster could not be told, later how long otherwise.
	soon, later = 10 * time.Second, time.Minute
	workers     = 8
)

// Reconcile makes one pass over a mesh; the mesh without a name holds the clusters that belong to none.
func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	if req.Name == "" {
		return r.release(ctx)
	}
	m := &hub.Mesh{}
	if err := r.Live.Get(ctx, req.NamespacedName, m); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !m.DeletionTimestamp.IsZero() {
		return reconcile.Result{}, nil
	}
	clusters, err := r.gather(ctx, m.Name, false)
	if err != nil {
		return reconcile.Result{}, err
	}
	turn := r.turns(m, clusters)
	grant := grants(turn, clusters)
	if grant {
		// What watches brought is enough to wait, and not enough to permit.
		if clusters, err = r.gather(ctx, m.Name, true); err != nil {
			return reconcile.Result{}, err
		}
		turn = r.turns(m, clusters)
		grant = grants(turn, clusters)
	}
	if grant {
		turn.Turn.Since.Time = r.Clock.Now() // the lock is taken also when the cluster had the turn before
	}
	if err := r.report(ctx, m, clusters, turn); err != nil {
		if apierrors.IsConflict(err) {
			return reconcile.Result{RequeueAfter: 50 * time.Millisecond}, nil // somebody was faster: look again
		}
		return reconcile.Result{}, err
	}
	problems := r.tell(ctx, m, clusters, turn)
	for _, p := range problems {
		log.FromContext(ctx).Info("a cluster could not be told", "mesh", m.Name, "problem", p.Error())
	}
	if len(problems) > 0 || turn.Turn != nil || waits(clusters) {
		return reconcile.Result{RequeueAfter: soon}, nil
	}
	return reconcile.Result{RequeueAfter: later}, nil
}

func (r *Reconciler) turns(m *hub.Mesh, clusters []cluster) fleet.TurnDecision {
	var present *hub.Turn
	if m.Status.Turn != nil {
		present = m.Status.Turn.DeepCopy()
	}
	return fleet.Turns(fleet.TurnInput{Mesh: m.Name, Present: present, Members: members(clusters), Now: r.Clock.Now()})
}

// grants tells whether a cluster is to be permitted what it does not believe to be permitted yet.
func grants(d fleet.TurnDecision, clusters []cluster) bool {
	if !d.Permit {
		return false
	}
	for _, c := range clusters {
		if c.Name == d.Turn.Cluster {
			return c.Link == nil || c.Link.Decommission == nil || !c.Link.Decommission.Pass || c.Link.Decommission.UID != d.Turn.UID
		}
	}
	return true
}

// waits tells whether a cluster waits for an answer.
func waits(clusters []cluster) bool {
	for _, c := range clusters {
		if c.Unfinished() && c.Upgrade.DecommissionRequested {
			return true
		}
	}
	return false
}

// SetupWithManager registers the controller; changes makes a source of "something changed in this cluster".
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, changes func(func(ctx context.Context, cluster string) []reconcile.Request) source.Source) error {
	err := ctrl.NewControllerManagedBy(mgr).Named("mesh").
		For(&hub.Mesh{}, builder.WithPredicates(predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Watches(&hub.MemberCluster{}, handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
			return request(o.(*hub.MemberCluster).Spec.Mesh) // of an update, both the old and the new one
		})).
		WatchesRawSource(changes(func(ctx context.Context, cluster string) []reconcile.Request {
			mc := &hub.MemberCluster{}
			if err := mgr.GetClient().Get(ctx, types.NamespacedName{Name: cluster}, mc); err != nil {
				return nil
			}
			return request(mc.Spec.Mesh)
		})).
		WithOptions(retry.Options(workers)).
		Complete(r)
	if err != nil {
		return fmt.Errorf("register the Mesh controller: %w", err)
	}
	return nil
}

func request(mesh string) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: mesh}}}
}
