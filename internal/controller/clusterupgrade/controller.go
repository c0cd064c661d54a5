// Package clusterupgrade carries a ClusterUpgrade through its five steps: look (gather.go), decide (package upgrade), do
// (act.go), tell (report.go). Each pass does one action at most and every action can be repeated, so a crash at any
// point is followed by the same next action.
package clusterupgrade

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/catalog"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/retry"
	"meshlift.dev/meshlift/internal/routing"
	"meshlift.dev/meshlift/internal/upgrade"
)

// Finalizer keeps a ClusterUpgrade until what it put into the cluster is taken away.
const Finalizer = "meshlift.dev/upgrade"

// Installation is what Lifecycle needs to know to install a revision.
type Installation struct {
	// Upgrade is the name of the ClusterUpgrade that owns the new revision.
	Upgrade string
	// From is the revision whose values are carried over.
	From mesh.Revision
	// To is the revision to install.
	To v1alpha1.RevisionRef
	// ChartRepository and ImageHub from the catalog; ImageHub may be empty.
	ChartRepository, ImageHub string
	// Values of the user, merged over the carried ones.
	Values map[string]any
}

// Lifecycle installs and retires control planes. Every method can be repeated.
type Lifecycle interface {
	Install(ctx context.Context, in Installation) (v1alpha1.ValuesReport, error)
	// Verify tells whether the revision is available, injects and serves xDS; message says what is missing.
	Verify(ctx context.Context, revision mesh.Revision) (ready bool, message string, err error)
	// RemoveFailed removes an installation that did not become ready and says why it did not.
	RemoveFailed(ctx context.Context, in Installation) (why string, err error)
	// SwitchOver moves namespace labels, tags and the default validator from one revision to the other.
	SwitchOver(ctx context.Context, from, to mesh.Revision) error
	// ScaleDown scales the revision to zero and returns the replicas it had.
	ScaleDown(ctx context.Context, revision mesh.Revision) (replicas int32, err error)
	ScaleUp(ctx context.Context, revision mesh.Revision, replicas int32) error
	// Uninstall removes the revision and what it leaves behind. The revision may be gone already.
	Uninstall(ctx context.Context, revision string) error
}

// Observer reads the cluster.
type Observer interface {
	Inventory(ctx context.Context) (*mesh.Inventory, error)
}

// Connector asks every replica of a revision for its live xDS connections.
type Connector interface {
	Connections(ctx context.Context, revision mesh.Revision) ([]upgrade.Connection, error)
}

// Options of the controller.
type Options struct {
	Client    client.Client
	Observer  Observer
	Connector Connector
	Lifecycle Lifecycle
	Router    *routing.Router
	Catalog   func(ctx context.Context) (catalog.Catalog, error)
	Recorder  events.EventRecorder
	Clock     clock.Clock
	// InstallTimeout is how long a new istiod may take to become ready before its installation counts as failed.
	InstallTimeout time.Duration
}

// Reconciler carries ClusterUpgrades forward.
type Reconciler struct {
	Options
	// waiting is since when, on the clock that is never set, this process has waited for the istiod of an upgrade. Passes of
	// the controller come one after the other.
	waiting map[types.UID]time.Time
	// proof of the new istiod; passes of the controller come one after the other.
	proof proof
}

// Reconcile makes one pass.
func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	cu := &v1alpha1.ClusterUpgrade{}
	if err := r.Client.Get(ctx, req.NamespacedName, cu); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !cu.DeletionTimestamp.IsZero() {
		return r.finalize(ctx, cu)
	}
	if cu.Status.Decommission != nil && cu.Status.Decommission.RemovedAt != nil && finishedConditions(cu) {
		if !controllerutil.RemoveFinalizer(cu, Finalizer) {
			return reconcile.Result{}, nil // history
		}
		if err := r.Client.Update(ctx, cu); client.IgnoreNotFound(err) != nil {
			return reconcile.Result{}, fmt.Errorf("take the finalizer off ClusterUpgrade %q: %w", cu.Name, err)
		}
		return reconcile.Result{}, nil
	}
	if controllerutil.AddFinalizer(cu, Finalizer) {
		if err := r.Client.Update(ctx, cu); err != nil {
			return reconcile.Result{}, fmt.Errorf("add the finalizer to ClusterUpgrade %q: %w", cu.Name, err)
		}
		return reconcile.Result{RequeueAfter: time.Millisecond}, nil
	}
	snapshot, err := r.gather(ctx, cu)
	if err != nil {
		return reconcile.Result{}, err
	}
	now := r.Clock.Now()
	d := upgrade.Decide(upgrade.Input{Spec: cu.Spec, Status: cu.Status, Snapshot: snapshot, Now: now})
	before := cu.DeepCopy()
	acted, actErr := r.act(ctx, cu, d, snapshot)
	if err := r.report(ctx, before, cu, d, actErr); err != nil {
		if apierrors.IsConflict(err) {
			return reconcile.Result{RequeueAfter: 50 * time.Millisecond}, nil // the cache was behind: look again
		}
		return reconcile.Result{}, err
	}
	if actErr != nil {
		return reconcile.Result{}, actErr
	}
	if acted || d.Done() {
		return reconcile.Result{RequeueAfter: 100 * time.Millisecond}, nil
	}
	return reconcile.Result{RequeueAfter: d.Again}, nil
}

// SetupWithManager registers the controller; cluster maps events of the mesh to the unfinished upgrade.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, cluster func(ctrl.Manager, *builder.Builder) *builder.Builder) error {
	wished := builder.WithPredicates(predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))
	b := ctrl.NewControllerManagedBy(mgr).For(&v1alpha1.ClusterUpgrade{}, wished).Named("clusterupgrade").WithOptions(retry.Options(1)).
		Watches(&v1alpha1.ControlPlane{}, handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, _ client.Object) []reconcile.Request {
			return Requests(ctx, mgr.GetClient()) // the hub said something
		}), builder.WithPredicates(predicate.GenerationChangedPredicate{}))
	return cluster(mgr, b).Complete(r)
}

// Requests returns a request for every upgrade that is not finished.
func Requests(ctx context.Context, reader client.Reader) []reconcile.Request {
	list := &v1alpha1.ClusterUpgradeList{}
	if err := reader.List(ctx, list); err != nil {
		return nil // the cache is not ready; the first sync brings every object anyway
	}
	var out []reconcile.Request
	for n := range list.Items {
		if !finishedConditions(&list.Items[n]) {
			out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Name: list.Items[n].Name}})
		}
	}
	return out
}
