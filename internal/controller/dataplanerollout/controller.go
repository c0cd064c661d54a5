// Package dataplanerollout moves data planes in batches: look, decide (package rollout), do (package restart), tell.
// What is in motion is derived from the cluster in every pass, so nothing is lost by a crash.
package dataplanerollout

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/retry"
	"meshlift.dev/meshlift/internal/rollout"
	"meshlift.dev/meshlift/internal/window"
)

// Observer reads the cluster.
type Observer interface {
	Inventory(ctx context.Context) (*mesh.Inventory, error)
	PodEvents(ctx context.Context, namespace string, pods []string) ([]v1alpha1.PodEvent, error)
}

// Mover moves one workload. It returns a [*restart.Refusal] when the move cannot be made as things are, and a
// [*restart.Blocked] when a pod may not be evicted yet.
type Mover interface {
	Do(ctx context.Context, a rollout.Action) error
	// Ahead makes a move whose turn comes soon quicker. Nothing is touched.
	Ahead(ctx context.Context, a rollout.Action) error
}

// Options of the controller.
type Options struct {
	Client   client.Client
	Observer Observer
	Mover    Mover
	// Asker and Meter of the health gates.
	Asker    Asker
	Meter    Meter
	Recorder events.EventRecorder
	Clock    clock.Clock
}

// Reconciler carries DataPlaneRollouts forward.
type Reconciler struct {
	Options
	// wake has the controller look at a rollout soon; base ends with the controller. Both are there once it has started.
	wake func(reconcile.Request)
	base context.Context //nolint:containedctx // of goroutines that outlive a pass

	mu sync.Mutex
	// motions of the rollouts that are not complete, by name.
	motions map[string]*motion
}

// motion is what is known of a rollout besides the cluster; it may be lost at any moment.
type motion struct {
	flights
	rehearsing
	teller
	gates gates
	// begun are the moves that the last pass found begun and not done; the status tells them later.
	begun []v1alpha1.WorkloadProgress
}

func (r *Reconciler) motion(name string) *motion {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.motions == nil {
		r.motions = map[string]*motion{}
	}
	if r.motions[name] == nil {
		r.motions[name] = &motion{}
	}
	return r.motions[name]
}

func (r *Reconciler) forget(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.motions, name)
}

// Reconcile makes one pass.
func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	ro := &v1alpha1.DataPlaneRollout{}
	if err := r.Client.Get(ctx, req.NamespacedName, ro); err != nil {
		r.forget(req.Name)
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !ro.DeletionTimestamp.IsZero() || Complete(ro) {
		r.forget(req.Name)
		return reconcile.Result{}, nil
	}
	in, verdict, err := r.gather(ctx, ro)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !verdict.Passed() && in.Inventory == nil {
		return reconcile.Result{RequeueAfter: 5 * time.Second}, r.refuse(ctx, ro, verdict)
	}
	m := r.motion(ro.Name)
	looked := time.Now()
	now := m.stand(in.Inventory, ro.Status.Failures, looked)
	in.Failures = slices.Concat(now.refused, in.Failures)
	in.Begun = slices.Concat(m.begun, ro.Status.Moving)
	in.Inventory = rollout.Expect(in.Inventory, now.underWay)
	in.Verdicts = r.examine(ctx, req.Name, m, in)
	out := rollout.Decide(in)
	out.Moving = now.written(out.Moving, in.Begun)
	m.begun = out.Moving
	out.Complete = out.Complete && len(now.underWay) == 0
	m.settle(out.Actions, looked)
	if len(out.Actions) > 0 {
		r.launch(ctx, req, m, out.Actions)
	}
	m.rehearse(r.lasting(ctx), out.Next, r.Mover.Ahead)
	told, err := r.report(ctx, ro, in, out, now)
	switch {
	case apierrors.IsConflict(err):
		return reconcile.Result{RequeueAfter: 50 * time.Millisecond}, nil // the cache was behind: look again
	case err != nil:
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: again(in.Now, out, len(now.underWay) > 0 || !told || now.err != nil)}, nil
}

// longest is how long a rollout that waits for a time sleeps at most: a timer that was made before the clock jumped would end
// too late.
const longest = 15 * time.Second

// again is when to look next without any event: soon while something is under way or not told yet, else when the decision
// says so, or after [longest]; 0 for not at all.
func again(now time.Time, out rollout.Outcome, soon bool) time.Duration {
	after := time.Duration(0)
	if !out.Again.IsZero() {
		after = min(max(time.Second, out.Again.Sub(now)), longest)
	}
	if soon || len(out.Actions) > 0 {
		return min(tellInterval, cmp.Or(after, tellInterval))
	}
	return after
}

// launch starts the actions and does not wait for them; each that lands has the rollout looked at again.
func (r *Reconciler) launch(ctx context.Context, req reconcile.Request, m *motion, actions []rollout.Action) {
	ctx = r.lasting(ctx)
	m.flights.launch(ctx, actions, r.Mover.Do, func(a rollout.Action, err error) {
		if err != nil {
			log.FromContext(ctx).Info("a move was not made", "rollout", req.Name, "workload", a.Ref.String(), "reason", err.Error())
		}
		r.again(req.Name)
	})
}

// again has a rollout looked at soon.
func (r *Reconciler) again(name string) {
	if r.wake != nil {
		r.wake(reconcile.Request{NamespacedName: types.NamespacedName{Name: name}})
	}
}

// lasting is the context of what outlives the pass.
func (r *Reconciler) lasting(pass context.Context) context.Context {
	if r.base != nil {
		return r.base
	}
	return pass
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

// Complete tells whether the rollout has ended.
func Complete(ro *v1alpha1.DataPlaneRollout) bool {
	return apimeta.IsStatusConditionTrue(ro.Status.Conditions, v1alpha1.ConditionComplete)
}

// SetupWithManager registers the controller; cluster maps events of the mesh to the rollouts that are not complete.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, cluster func(ctrl.Manager, *builder.Builder) *builder.Builder) error {
	b := ctrl.NewControllerManagedBy(mgr).For(&v1alpha1.DataPlaneRollout{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).Named("dataplanerollout").WithOptions(retry.Options(1)).
		// A freeze that somebody sets or lifts for the cluster; the status of the ControlPlane is of no interest.
		Watches(&v1alpha1.ControlPlane{}, handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, _ client.Object) []reconcile.Request {
			return Requests(ctx, mgr.GetClient())
		}), builder.WithPredicates(predicate.GenerationChangedPredicate{}))
	b = b.WatchesRawSource(source.Func(func(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		r.base, r.wake = ctx, func(req reconcile.Request) { queue.AddAfter(req, landInterval) }
		return nil
	}))
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
