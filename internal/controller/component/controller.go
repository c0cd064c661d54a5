// Package component is the controller of the components of members: it finds out what is installed, upgrades what somebody asked
// for, and writes status.components and the condition ComponentsReady of MemberClusters with a field manager of its own.
package component

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/catalog"
	"meshlift.dev/meshlift/internal/component"
	"meshlift.dev/meshlift/internal/helm"
	"meshlift.dev/meshlift/internal/release"
	"meshlift.dev/meshlift/internal/retry"
)

// Members connects with clusters; package member implements it.
type Members interface {
	Client(cluster string) (client.Client, error)
	Config(cluster string) (*rest.Config, error)
}

// Helm reads and changes the releases of one cluster; package helm implements it.
type Helm interface {
	Releases(ctx context.Context) ([]helm.Found, error)
	Objects(ctx context.Context, namespace, name string) ([]*unstructured.Unstructured, error)
	CRDs(ctx context.Context, s release.Source) ([]*unstructured.Unstructured, error)
	Apply(ctx context.Context, s release.Spec) error
	RollBack(ctx context.Context, s release.Spec) error
}

// Reconciler keeps the components of members as they were asked for.
type Reconciler struct {
	// Client of the hub's own cluster.
	Client client.Client
	// Live reads MemberClusters: what failed is remembered in their status, and an old copy would begin it anew.
	Live    client.Reader
	Members Members
	// NewHelm connects Helm with a cluster.
	NewHelm func(config *rest.Config) (Helm, error)
	// ReadyWithin is how long pods may take to become ready; default [component.ReadyWithin].
	ReadyWithin time.Duration
	Now         func() time.Time

	helms    helms
	jobs     jobs
	troubles troubles
	passes   passes
}

// New returns a reconciler with charts that are built into the binary, by name.
func New(c client.Client, live client.Reader, members Members, builtIn map[string]fs.FS) *Reconciler {
	return &Reconciler{
		Client: c, Live: live, Members: members, Now: time.Now,
		NewHelm: func(config *rest.Config) (Helm, error) { return helm.New(helm.Options{REST: config, BuiltIn: builtIn}) },
	}
}

// Times of looks: soon while something is under way, else rarely, because nobody tells the hub what others install.
const (
	soon   = 2 * time.Second
	rarely = time.Minute
	// pause between two looks for which there is no special reason.
	pause = 10 * time.Second
	// lookLimit ends a look at a cluster that has become slow.
	lookLimit = 30 * time.Second
	// concurrent looks.
	concurrent = 16
)

// Reconcile makes one pass over one cluster.
func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	mc := &hub.MemberCluster{}
	if err := r.Live.Get(ctx, req.NamespacedName, mc); apierrors.IsNotFound(err) {
		r.helms.drop(req.Name)
		r.troubles.drop(req.Name)
		r.passes.drop(req.Name)
		return reconcile.Result{}, nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("read MemberCluster %q: %w", req.Name, err)
	}
	if mc.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	if wait := r.passes.early(mc, r.Now()); wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	cat, err := r.catalog(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	jobs := r.jobs.ended(mc.Name)
	look, cancel := context.WithTimeout(ctx, lookLimit)
	in, site := r.gather(look, mc, cat)
	cancel()
	plan := component.Decide(in)
	if err := r.report(ctx, mc, plan.Components); err != nil {
		return reconcile.Result{}, err
	}
	r.passes.made(mc, r.Now(), plan.Busy)
	if site != nil && len(plan.Actions) > 0 {
		r.begin(ctx, mc, jobs, site, plan.Actions)
	}
	if plan.Busy {
		return reconcile.Result{RequeueAfter: soon}, nil
	}
	return reconcile.Result{RequeueAfter: rarely}, nil
}

// catalog is the one in effect. A broken object is as good as none: the built-in catalog holds.
func (r *Reconciler) catalog(ctx context.Context) (catalog.Catalog, error) {
	o := &v1alpha1.Catalog{}
	if err := r.Client.Get(ctx, client.ObjectKey{Name: v1alpha1.SingletonName}, o); client.IgnoreNotFound(err) != nil {
		return catalog.Catalog{}, fmt.Errorf("read the Catalog: %w", err)
	} else if err != nil {
		return catalog.Default(), nil
	}
	merged := catalog.Default().Merge(&o.Spec)
	if err := merged.Validate(); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "the Catalog is not used")
		return catalog.Default(), nil
	}
	return merged, nil
}

// all are the requests for every cluster, for a change of the Catalog.
func (r *Reconciler) all(ctx context.Context, _ client.Object) []reconcile.Request {
	var list hub.MemberClusterList
	if err := r.Client.List(ctx, &list); err != nil {
		return nil // every cluster is looked at in a minute anyway
	}
	out := make([]reconcile.Request, 0, len(list.Items))
	for _, m := range list.Items {
		out = append(out, reconcile.Request{NamespacedName: client.ObjectKey{Name: m.Name}})
	}
	return out
}

// SetupWithManager registers the controller; changes are events of connections.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, changes source.Source) error {
	r.jobs.events = make(chan event.GenericEvent, 1)
	b := ctrl.NewControllerManagedBy(mgr).Named("component").
		For(&hub.MemberCluster{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.Catalog{}, handler.EnqueueRequestsFromMapFunc(r.all)).
		WatchesRawSource(source.Channel(r.jobs.events, &handler.EnqueueRequestForObject{})).
		WithOptions(retry.Options(concurrent))
	if changes != nil {
		b = b.WatchesRawSource(changes)
	}
	return b.Complete(r)
}
