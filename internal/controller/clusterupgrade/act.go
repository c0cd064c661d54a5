package clusterupgrade

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/handover"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/routing"
	"meshlift.dev/meshlift/internal/upgrade"
)

// act carries out the action of the decision and notes in the status what only it knows. It tells whether the cluster
// was changed, so that it is looked at again at once.
func (r *Reconciler) act(ctx context.Context, cu *v1alpha1.ClusterUpgrade, d upgrade.Decision, s upgrade.Snapshot) (acted bool, err error) {
	if s.Refused != "" {
		return false, nil
	}
	cu.Status.From, cu.Status.To = &s.From, &s.To
	from, exists := s.Inventory.Revision(s.From.Revision)
	if !exists {
		from = mesh.Revision{Name: s.From.Revision, Version: s.From.Version}
	}
	to, _ := s.Inventory.Revision(s.To.Revision)
	now := metav1.NewTime(r.Clock.Now())
	if d.Maintain && to.Name != "" && exists {
		if _, err := r.handover(ctx, cu.Name, from, to, s); err != nil {
			return false, err
		}
	}
	switch d.Action {
	case upgrade.Install:
		return r.install(ctx, cu, from, s)
	case upgrade.Handover:
		return r.handover(ctx, cu.Name, from, to, s)
	case upgrade.SwitchOver:
		cu.Status.Decommission = orNew(cu.Status.Decommission)
		cu.Status.Decommission.ProvedAt = &now
		return true, r.Lifecycle.SwitchOver(ctx, from, to)
	case upgrade.EndHandover:
		cu.Status.Decommission = orNew(cu.Status.Decommission)
		return true, r.endHandover(ctx, cu)
	case upgrade.ScaleDown:
		replicas, err := r.Lifecycle.ScaleDown(ctx, from)
		if err != nil {
			return false, err
		}
		cu.Status.Decommission = orNew(cu.Status.Decommission)
		cu.Status.Decommission.Replicas = max(replicas, cu.Status.Decommission.Replicas)
		cu.Status.Decommission.ProvedAt, cu.Status.Decommission.ScaledDownAt = &now, &now
		return true, nil
	case upgrade.ScaleUp:
		if err := r.Lifecycle.ScaleUp(ctx, from, cu.Status.Decommission.Replicas); err != nil {
			return false, err
		}
		cu.Status.Decommission = nil
		return true, nil
	case upgrade.Uninstall:
		if err := r.Lifecycle.Uninstall(ctx, s.From.Revision); err != nil {
			return false, err
		}
		if err := r.Router.Unguard(ctx); err != nil {
			return false, err
		}
		cu.Status.Decommission.RemovedAt = &now
		return true, nil
	}
	return false, nil
}

func orNew(d *v1alpha1.DecommissionStatus) *v1alpha1.DecommissionStatus {
	if d == nil {
		return &v1alpha1.DecommissionStatus{}
	}
	return d
}

func (r *Reconciler) install(ctx context.Context, cu *v1alpha1.ClusterUpgrade, from mesh.Revision, s upgrade.Snapshot) (bool, error) {
	in, err := r.installation(ctx, cu, from, s)
	if err != nil {
		return false, err
	}
	if there, ok := s.Inventory.Revision(s.To.Revision); ok && there.Replicas == 0 {
		return true, r.Lifecycle.ScaleUp(ctx, there, 0) // somebody scaled it down; moved pods need it
	}
	if r.overdue(cu) && cu.Status.DataPlanes.Moved == 0 {
		why, err := r.Lifecycle.RemoveFailed(ctx, in)
		if err != nil {
			return false, fmt.Errorf("remove the failed istiod %s: %w", s.To.Revision, err)
		}
		return true, &installFailure{fmt.Sprintf("istiod %s did not become ready within %s and was removed again: %s; repair that, then run \"meshlift upgrade resume\" to try again", s.To.Revision, r.InstallTimeout, why)}
	}
	if s.ControlPlane.Installed {
		return false, nil
	}
	cu.Status.Values = nil // until this installation has ended well
	report, err := r.Lifecycle.Install(ctx, in)
	if err != nil {
		return false, fmt.Errorf("install istiod %s: %w", s.To.Revision, err)
	}
	cu.Status.Values = &report
	return false, nil
}

// overdue tells whether this process has waited for the new istiod for longer than it may take. It counts the time that has
// passed and not the hands of a clock: a clock that is set must not take away an istiod that is on its way. An agent that is
// started again waits anew.
func (r *Reconciler) overdue(cu *v1alpha1.ClusterUpgrade) bool {
	c := meta.FindStatusCondition(cu.Status.Conditions, v1alpha1.ConditionControlPlaneReady)
	if c == nil || c.Reason != v1alpha1.ReasonInProgress {
		delete(r.waiting, cu.UID)
		return false
	}
	since, known := r.waiting[cu.UID]
	if !known {
		if r.waiting == nil {
			r.waiting = map[types.UID]time.Time{}
		}
		since = time.Now()
		r.waiting[cu.UID] = since
	}
	return time.Since(since) > r.InstallTimeout
}

// installFailure is what a person has to repair.
type installFailure struct{ message string }

func (f *installFailure) Error() string { return f.message }

func (r *Reconciler) installation(ctx context.Context, cu *v1alpha1.ClusterUpgrade, from mesh.Revision, s upgrade.Snapshot) (Installation, error) {
	cat, err := r.Catalog(ctx)
	if err != nil {
		return Installation{}, fmt.Errorf("read the catalog: %w", err)
	}
	in := Installation{
		Upgrade: cu.Name, From: from, To: s.To, ChartRepository: cat.ChartRepository,
		ImageHub: cat.Hub(s.To.Version, from.Hub), Values: map[string]any{},
	}
	if cu.Spec.Values != nil && len(cu.Spec.Values.Raw) > 0 {
		if err := json.Unmarshal(cu.Spec.Values.Raw, &in.Values); err != nil {
			return Installation{}, reconcile.TerminalError(fmt.Errorf("read spec.values of ClusterUpgrade %q: %w", cu.Name, err))
		}
	}
	return in, nil
}

// handover establishes the guards first, so that a pod that nobody injects is loud from the beginning, and the policy of
// claims where there are claims; then the handover.
func (r *Reconciler) handover(ctx context.Context, name string, from, to mesh.Revision, s upgrade.Snapshot) (bool, error) {
	revisions, enabled := selectors(s.Inventory)
	guards := handover.Guards(to.Name, revisions, enabled, neverInjected(s.Inventory))
	if slices.ContainsFunc(s.Inventory.Workloads, func(w mesh.Workload) bool { return w.Claim != nil }) {
		guards = append(guards, handover.Claims(name)...)
	}
	if kept, err := r.Router.Kept(ctx, from, to, guards); err != nil || kept {
		return false, err
	}
	if err := r.Router.Guard(ctx, guards); err != nil {
		return false, err
	}
	written, err := r.Router.Establish(ctx, from, to)
	if routing.IsTransient(err) {
		return true, nil
	}
	return written > 0, err
}

// endHandover takes the claims out of admission, and then the handover, by which it is found again after a crash.
func (r *Reconciler) endHandover(ctx context.Context, cu *v1alpha1.ClusterUpgrade) error {
	if err := r.Router.Unclaim(ctx, cu.Name); err != nil {
		return err
	}
	return r.Router.Remove(ctx)
}

// finalize takes back what an unfinished upgrade put into the cluster, then lets the object go. It waits as long as data
// planes run on the new revision.
func (r *Reconciler) finalize(ctx context.Context, cu *v1alpha1.ClusterUpgrade) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(cu, Finalizer) {
		return reconcile.Result{}, nil
	}
	if !finishedConditions(cu) && cu.Status.To != nil && cu.Status.From != nil {
		inv, err := r.Observer.Inventory(ctx)
		if err != nil {
			return reconcile.Result{}, fmt.Errorf("read the mesh: %w", err)
		}
		if v := gate.DeleteUpgrade(gate.DeleteInput{Upgrade: cu, Inventory: inv}); !v.Passed() {
			return r.refuseDeletion(ctx, cu, v)
		}
		if err := r.endHandover(ctx, cu); err != nil {
			return reconcile.Result{}, err
		}
		if err := r.Router.Unguard(ctx); err != nil {
			return reconcile.Result{}, err
		}
		from, _ := inv.Revision(cu.Status.From.Revision)
		in := Installation{Upgrade: cu.Name, From: from, To: *cu.Status.To}
		if _, err := r.Lifecycle.RemoveFailed(ctx, in); err != nil {
			return reconcile.Result{}, fmt.Errorf("remove istiod %s: %w", cu.Status.To.Revision, err)
		}
	}
	controllerutil.RemoveFinalizer(cu, Finalizer)
	return reconcile.Result{}, r.Client.Update(ctx, cu)
}
