// Package dataplanerollout moves data planes in batches: look, decide (package rollout), do (package restart), tell.
// What is in motion is derived from the cluster in every pass, so nothing is lost by a crash.
package dataplanerollout

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/restart"
	"meshlift.dev/meshlift/internal/rollout"
	"meshlift.dev/meshlift/internal/window"
)

// Observer reads the cluster.
type Observer interface {
	Inventory(ctx context.Context) (*mesh.Inventory, error)
	PodEvents(ctx context.Context, namespace string, pods []string) ([]v1alpha1.PodEvent, error)
}

// Mover moves one workload. It returns a [*restart.Refusal] when the move cannot be made as things are.
type Mover interface {
	Do(ctx context.Context, a rollout.Action) error
}

// Options of the controller.
type Options struct {
	Client   client.Client
	Observer Observer
	Mover    Mover
	Recorder events.EventRecorder
	Clock    clock.Clock
}

// Reconciler carries DataPlaneRollouts forward.
type Reconciler struct{ Options }

// writers is how many workloads are changed at the same time; more would only queue in the API server.
const writers = 16

// Reconcile makes one pass.
func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	ro := &v1alpha1.DataPlaneRollout{}
	if err := r.Client.Get(ctx, req.NamespacedName, ro); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !ro.DeletionTimestamp.IsZero() || Complete(ro) {
		return reconcile.Result{}, nil
	}
	in, verdict, err := r.gather(ctx, ro)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !verdict.Passed() && in.Inventory == nil {
		return reconcile.Result{RequeueAfter: 5 * time.Second}, r.refuse(ctx, ro, verdict)
	}
	out := rollout.Decide(in)
	failed, actErr := r.act(ctx, out.Actions)
	err = r.report(ctx, ro, in, out, failed, actErr)
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: 50 * time.Millisecond}, nil // the cache was behind: look again
	}
	if err != nil || actErr != nil {
		return reconcile.Result{}, errors.Join(err, actErr)
	}
	if len(out.Actions) > 0 {
		return reconcile.Result{RequeueAfter: 50 * time.Millisecond}, nil
	}
	if !out.Again.IsZero() {
		return reconcile.Result{RequeueAfter: max(time.Second, out.Again.Sub(in.Now))}, nil
	}
	return reconcile.Result{}, nil
}

// gather reads everything that the decision needs. A rollout that may not start has no inventory and a verdict.
func (r *Reconciler) gather(ctx context.Context, ro *v1alpha1.DataPlaneRollout) (rollout.Input, gate.Verdict, error) {
	in := rollout.Input{Name: ro.Name, Spec: ro.Spec, Failures: ro.Status.Failures, Waves: ro.Status.Waves, Now: r.Clock.Now()}
	upgrade := &v1alpha1.ClusterUpgrade{}
	err := r.Client.Get(ctx, types.NamespacedName{Name: ro.Spec.Upgrade}, upgrade)
	if client.IgnoreNotFound(err) != nil {
		return in, gate.Verdict{}, fmt.Errorf("read ClusterUpgrade %q: %w", ro.Spec.Upgrade, err)
	}
	if err != nil {
		upgrade = nil
	}
	others := &v1alpha1.DataPlaneRolloutList{}
	if err := r.Client.List(ctx, others); err != nil {
		return in, gate.Verdict{}, fmt.Errorf("list rollouts: %w", err)
	}
	inv, err := r.Observer.Inventory(ctx)
	if err != nil {
		return in, gate.Verdict{}, fmt.Errorf("read the mesh: %w", err)
	}
	v := gate.StartRollout(gate.RolloutInput{
		Rollout: ro, Upgrade: upgrade, Others: others.Items,
		HasNamespace: func(name string) bool { _, ok := inv.Namespaces[name]; return ok },
	})
	started := ro.Status.StartedAt != nil
	if upgrade == nil || upgrade.Status.From == nil || upgrade.Status.To == nil || !v.Passed() && !started {
		return in, v, nil
	}
	in.Inventory, in.From, in.To = inv, upgrade.Status.From.Revision, upgrade.Status.To.Revision
	cp := &v1alpha1.ControlPlane{}
	if err := r.Client.Get(ctx, types.NamespacedName{Name: v1alpha1.SingletonName}, cp); client.IgnoreNotFound(err) != nil {
		return in, v, fmt.Errorf("read ControlPlane %q: %w", v1alpha1.SingletonName, err)
	}
	// Admission refuses windows that cannot be read, but may have been away: then nobody knows what was meant.
	if in.Calendar, err = window.Of(&ro.Spec, cp); err != nil && ro.Spec.Direction != v1alpha1.Back {
		in.Suspended = err.Error()
	} else {
		in.Suspended = suspended(upgrade, v, inv, in)
	}
	return in, v, nil
}

// suspended says why no new move may start at the moment; "" when one may.
func suspended(upgrade *v1alpha1.ClusterUpgrade, v gate.Verdict, inv *mesh.Inventory, in rollout.Input) string {
	switch {
	case in.Spec.Direction == v1alpha1.Back:
		return ""
	case upgrade.Spec.Paused:
		return fmt.Sprintf("ClusterUpgrade %q is paused: resume it with \"meshlift upgrade resume\"", upgrade.Name)
	case !v.Passed():
		return v.Message
	case upgrade.Status.Decommission == nil && !rollout.Routed(inv, in.From, in.To):
		return fmt.Sprintf("admission does not route moved pods to revision %s yet: the handover is being established", in.To)
	}
	return ""
}

// act carries out the actions, several at a time, and returns the refusals. It waits until the cache has seen what was
// written, so that the next decision does not start more than parallelism allows.
func (r *Reconciler) act(ctx context.Context, actions []rollout.Action) (failed []v1alpha1.WorkloadFailure, err error) {
	var (
		wg   sync.WaitGroup
		lock sync.Mutex
		errs []error
		room = make(chan struct{}, writers)
	)
	for _, a := range actions {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			doErr := r.Mover.Do(ctx, a)
			if doErr == nil {
				doErr = r.seen(ctx, a)
			}
			lock.Lock()
			defer lock.Unlock()
			var refusal *restart.Refusal
			switch {
			case errors.As(doErr, &refusal):
				failed = append(failed, v1alpha1.WorkloadFailure{
					WorkloadReference: rollout.Reference(a.Ref), Attempt: max(1, a.Record.Attempt), Reason: refusal.Reason, Message: refusal.Message,
				})
			case client.IgnoreNotFound(doErr) != nil: // a workload deleted meanwhile needs no move
				errs = append(errs, doErr)
			}
		})
	}
	wg.Wait()
	return failed, errors.Join(errs...)
}

// Complete tells whether the rollout has ended.
func Complete(ro *v1alpha1.DataPlaneRollout) bool {
	return apimeta.IsStatusConditionTrue(ro.Status.Conditions, v1alpha1.ConditionComplete)
}

// SetupWithManager registers the controller; cluster maps events of the mesh to the rollouts that are not complete.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, cluster func(ctrl.Manager, *builder.Builder) *builder.Builder) error {
	b := ctrl.NewControllerManagedBy(mgr).For(&v1alpha1.DataPlaneRollout{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).Named("dataplanerollout").
		// A freeze that somebody sets or lifts for the cluster; the status of the ControlPlane is of no interest.
		Watches(&v1alpha1.ControlPlane{}, handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, _ client.Object) []reconcile.Request {
			return Requests(ctx, mgr.GetClient())
		}), builder.WithPredicates(predicate.GenerationChangedPredicate{}))
	return cluster(mgr, b).Complete(r)
}

// Requests returns a request for every rollout that is not complete.
func Requests(ctx context.Context, reader client.Reader) []reconcile.Request {
	list := &v1alpha1.DataPlaneRolloutList{}
	if err := reader.List(ctx, list); err != nil {
		return nil // the cache is not ready; the first sync brings every object anyway
	}
	var out []reconcile.Request
	for n := range list.Items {
		if !Complete(&list.Items[n]) {
			out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Name: list.Items[n].Name}})
		}
	}
	return out
}
