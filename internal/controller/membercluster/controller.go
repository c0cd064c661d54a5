// Package membercluster keeps the status of MemberClusters true, tells when a cluster is lost and when it is back, hands the
// catalog of the hub on, and takes leave of a cluster that is removed.
package membercluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/member"
	"meshlift.dev/meshlift/internal/retry"
)

// fieldManager owns the status of MemberClusters but the components, which another controller writes.
const fieldManager = "meshlift-hub-members"

// Names that the chart of the agent gives.
const agentDeployment = "asm-controller"

// resync is how often the agent of a connected cluster is looked at; its Deployment is not watched. perMinute is how often the
// time of the last contact is written.
const (
	soon      = 50 * time.Millisecond
	resync    = 20 * time.Second
	perMinute = time.Minute
)

// Links connects with clusters; [member.Links] implements it.
type Links interface {
	State(cluster string) member.State
	Client(cluster string) (client.Client, error)
	Cached(cluster string) (client.Reader, error)
	Changes(requests func(ctx context.Context, cluster string) []reconcile.Request) source.Source
}

// Reconciler keeps MemberClusters.
type Reconciler struct {
	Client   client.Client
	Links    Links
	Recorder events.EventRecorder
	Clock    clock.PassiveClock

	told sync.Map // the reason of the last event, by cluster: a cache that lags behind would have it told twice
}

// Reconcile makes one pass over one cluster.
func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	m := &hub.MemberCluster{}
	if err := r.Client.Get(ctx, req.NamespacedName, m); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !m.DeletionTimestamp.IsZero() {
		return r.leave(ctx, m)
	}
	if err := r.hold(ctx, m); apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: soon}, nil // somebody was faster: look again
	} else if err != nil {
		return reconcile.Result{}, err
	}
	f := r.gather(ctx, m)
	s := decide(m, f)
	if err := r.report(ctx, m, s); err != nil {
		return reconcile.Result{}, err
	}
	if !f.connection.Connected {
		return reconcile.Result{}, nil // the link tells when that changes
	}
	if err := r.handOnCatalog(ctx, m); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: resync}, nil
}

// gather looks at the cluster. What does not answer is a fact too.
func (r *Reconciler) gather(ctx context.Context, m *hub.MemberCluster) facts {
	f := facts{now: r.Clock.Now(), connection: r.Links.State(m.Name)}
	if !f.connection.Connected {
		return f
	}
	f.agent, f.agentErr = r.agent(ctx, m)
	if f.connection = r.Links.State(m.Name); !f.connection.Connected {
		return f // it went away while it was asked
	}
	cached, err := r.Links.Cached(m.Name)
	if err != nil {
		f.objectsErr = err
		return f
	}
	cp := &v1alpha1.ControlPlane{}
	switch err := cached.Get(ctx, client.ObjectKey{Name: v1alpha1.SingletonName}, cp); {
	case err == nil:
		f.controlPlane = cp
	case !apierrors.IsNotFound(err):
		f.objectsErr = err
		return f
	}
	var upgrades v1alpha1.ClusterUpgradeList
	if err := cached.List(ctx, &upgrades); err != nil {
		f.objectsErr = err
		return f
	}
	f.upgrades = upgrades.Items
	return f
}

// agent reads the Deployment of the agent; nil when there is none.
func (r *Reconciler) agent(ctx context.Context, m *hub.MemberCluster) (*appsv1.Deployment, error) {
	c, err := r.Links.Client(m.Name)
	if err != nil {
		return nil, err
	}
	d := &appsv1.Deployment{}
	err = c.Get(ctx, client.ObjectKey{Namespace: agentNamespace(m), Name: agentDeployment}, d)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return d, err
}

func agentNamespace(m *hub.MemberCluster) string {
	if m.Spec.AgentNamespace == "" {
		return "cpaas-system"
	}
	return m.Spec.AgentNamespace
}

// report writes what is new, and tells of a connection that was lost or came back.
func (r *Reconciler) report(ctx context.Context, m *hub.MemberCluster, s hub.MemberClusterStatus) error {
	before := m.Status
	if apiequality.Semantic.DeepEqual(before, s) {
		return nil
	}
	// Components, and the condition that sums them up, are another controller's.
	own := s.DeepCopy()
	own.Components = nil
	own.Conditions = ours(own.Conditions)
	status, err := runtime.DefaultUnstructuredConverter.ToUnstructured(own)
	if err != nil {
		return fmt.Errorf("encode the status of MemberCluster %q: %w", m.Name, err)
	}
	u := &unstructured.Unstructured{Object: map[string]any{"status": status}}
	u.SetGroupVersionKind(hub.GroupVersion.WithKind("MemberCluster"))
	u.SetName(m.Name)
	u.SetUID(m.UID) // one that was deleted meanwhile is not made anew
	if err := r.Client.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(fieldManager), client.ForceOwnership); err != nil {
		if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return nil
		}
		return fmt.Errorf("write the status of MemberCluster %q: %w", m.Name, err)
	}
	if e := event(before.Conditions, s.Conditions); e != nil {
		if last, _ := r.told.Swap(m.UID, e.reason); last == e.reason {
			return nil
		}
		r.Recorder.Eventf(m, nil, e.kind, e.reason, "Connect", "%s", e.message)
	}
	return nil
}

// handOnCatalog applies the catalog of the hub to the cluster. A hub without one leaves that of the cluster alone.
func (r *Reconciler) handOnCatalog(ctx context.Context, m *hub.MemberCluster) error {
	ours := &v1alpha1.Catalog{}
	if err := r.Client.Get(ctx, client.ObjectKey{Name: v1alpha1.SingletonName}, ours); err != nil {
		return client.IgnoreNotFound(err)
	}
	cached, err := r.Links.Cached(m.Name)
	if err != nil {
		return nil // it is told in the status, and the link says when it can be read
	}
	theirs := &v1alpha1.Catalog{}
	err = cached.Get(ctx, client.ObjectKey{Name: v1alpha1.SingletonName}, theirs)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read the Catalog of cluster %q: %w", m.Name, err)
	}
	if err == nil && apiequality.Semantic.DeepEqual(ours.Spec, theirs.Spec) {
		return nil
	}
	spec, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&ours.Spec)
	if err != nil {
		return fmt.Errorf("encode the Catalog: %w", err)
	}
	u := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Catalog"))
	u.SetName(v1alpha1.SingletonName)
	c, err := r.Links.Client(m.Name)
	if err != nil {
		return nil
	}
	err = c.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(hub.FieldManager), client.ForceOwnership)
	if errors.Is(err, member.ErrNotConnected) {
		return nil
	}
	if err != nil {
		// Not an obstacle for anything else: the cluster keeps the catalog that it has.
		r.Recorder.Eventf(m, nil, corev1.EventTypeWarning, "CatalogNotApplied", "Apply", "the Catalog of the hub cannot be applied to cluster %q: %v", m.Name, err)
	}
	return nil
}

// SetupWithManager registers the controller.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).Named("memberclusters").For(&hub.MemberCluster{}).
		WatchesRawSource(r.Links.Changes(member.Request)).
		Watches(&v1alpha1.Catalog{}, handler.EnqueueRequestsFromMapFunc(r.all)).
		WithOptions(retry.Options(8)).
		Complete(r)
}

// all are the requests for every cluster.
func (r *Reconciler) all(ctx context.Context, _ client.Object) []reconcile.Request {
	var list hub.MemberClusterList
	if err := r.Client.List(ctx, &list); err != nil {
		return nil // the cache is not there yet; every MemberCluster comes by itself then
	}
	var out []reconcile.Request
	for _, m := range list.Items {
		out = append(out, member.Request(ctx, m.Name)...)
	}
	return out
}
