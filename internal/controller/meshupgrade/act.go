package meshupgrade

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/fleet"
	"meshlift.dev/meshlift/internal/intent"
)

// Annotations that mark what the hub wishes of an object of a member, so that it takes back its own wishes and nobody else's.
const (
	PausedAnnotation       = "hub.meshlift.dev/paused"
	DecommissionAnnotation = "hub.meshlift.dev/decommission"
)

// act starts what is to start and brings wishes to what was started, in all clusters at the same time. What went wrong in a cluster is
// its message. It returns the names of the clusters that were started.
func (r *Reconciler) act(ctx context.Context, u *hub.MeshUpgrade, d *fleet.WavesDecision, clusters []cluster) []string {
	var wait sync.WaitGroup
	errs := make([]error, len(clusters))
	for n, c := range clusters {
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			if slices.Contains(d.Start, c.Name) {
				errs[n] = r.start(ctx, u, c)
			} else if c.Known && c.tracked != nil && slices.ContainsFunc(d.Clusters, func(p hub.ClusterProgress) bool { return p.Name == c.Name }) {
				errs[n] = r.carry(ctx, u, c)
			}
		})
	}
	wait.Wait()
	var started []string
	for n, c := range clusters {
		i := slices.IndexFunc(d.Clusters, func(p hub.ClusterProgress) bool { return p.Name == c.Name })
		if i < 0 {
			continue
		}
		p := &d.Clusters[i]
		switch {
		case errs[n] != nil:
			p.Message = errs[n].Error()
			// What admission refuses stays refused until somebody acts; everything else is tried again.
			p.Failed = p.Failed || apierrors.IsForbidden(errs[n]) || apierrors.IsInvalid(errs[n])
		case slices.Contains(d.Start, c.Name):
			now := metav1.NewTime(r.Clock.Now())
			p.StartedAt, p.Step, p.Message = &now, "starting", ""
			started = append(started, c.Name)
		}
	}
	return started
}

// start makes the ClusterUpgrade. That it exists is no error: a hub that crashed made it.
func (r *Reconciler) start(ctx context.Context, u *hub.MeshUpgrade, c cluster) error {
	to, err := r.Members.Client(c.Name)
	if err != nil {
		return err
	}
	if err := applyUpgrade(ctx, to, u, u.Name, true, wishes{paused: u.Spec.Paused}); err != nil {
		return fmt.Errorf("start the upgrade of cluster %q: %w", c.Name, err)
	}
	return nil
}

// wishes are what the hub wants of a ClusterUpgrade besides that it is there.
type wishes struct {
	paused       bool
	decommission *v1alpha1.DecommissionRequest
}

func (w wishes) differ(cu *v1alpha1.ClusterUpgrade) bool {
	return w.paused != (cu.Annotations[PausedAnnotation] != "") || (w.decommission != nil) != (cu.Annotations[DecommissionAnnotation] != "")
}

// carry pauses and resumes, asks for the decommission and withdraws it, and starts the rollout.
func (r *Reconciler) carry(ctx context.Context, u *hub.MeshUpgrade, c cluster) error {
	cu := c.tracked
	if meta.IsStatusConditionTrue(cu.Status.Conditions, v1alpha1.ConditionDecommissioned) {
		return nil
	}
	ours := cu.Labels[UpgradeLabel] == u.Name
	w := wishes{paused: u.Spec.Paused && ours}
	marked := cu.Annotations[DecommissionAnnotation] != ""
	moved := meta.IsStatusConditionTrue(cu.Status.Conditions, v1alpha1.ConditionDataPlanesMoved)
	if u.Spec.Decommission != nil && (marked || moved && cu.Spec.Decommission == nil) {
		w.decommission = u.Spec.Decommission
	}
	rollouts := r.rolloutsToEdit(u, c)
	create := u.Spec.Rollout != nil && !u.Spec.Paused && !moved && movable(cu) && len(c.rollouts) == 0
	if !w.differ(cu) && len(rollouts) == 0 && !create {
		return nil
	}
	to, err := r.Members.Client(c.Name)
	if err != nil {
		return err
	}
	var errs []error
	if w.differ(cu) {
		if err := applyUpgrade(ctx, to, u, cu.Name, ours, w); err != nil {
			errs = append(errs, fmt.Errorf("change ClusterUpgrade %q of cluster %q: %w", cu.Name, c.Name, err))
		}
	}
	for _, d := range rollouts {
		if err := pause(ctx, to, d, u.Spec.Paused); err != nil {
			errs = append(errs, fmt.Errorf("pause or resume rollout %q of cluster %q: %w", d.Name, c.Name, err))
		}
	}
	if create {
		if err := to.Create(ctx, rollout(u, cu)); err != nil && !apierrors.IsAlreadyExists(err) {
			errs = append(errs, fmt.Errorf("start the rollout of cluster %q: %w", c.Name, err))
		}
	}
	return errors.Join(errs...)
}

// movable tells whether steps 1 to 3 are done.
func movable(cu *v1alpha1.ClusterUpgrade) bool {
	return meta.IsStatusConditionTrue(cu.Status.Conditions, v1alpha1.ConditionControlPlaneReady) &&
		meta.IsStatusConditionTrue(cu.Status.Conditions, v1alpha1.ConditionEnvoyFiltersHandled)
}

// rolloutsToEdit are those of this upgrade that are paused and should not be, or the other way round.
func (r *Reconciler) rolloutsToEdit(u *hub.MeshUpgrade, c cluster) []*v1alpha1.DataPlaneRollout {
	var out []*v1alpha1.DataPlaneRollout
	for n := range c.rollouts {
		d := &c.rollouts[n]
		over := meta.IsStatusConditionTrue(d.Status.Conditions, v1alpha1.ConditionComplete)
		if d.Labels[UpgradeLabel] == u.Name && !over && u.Spec.Paused != (d.Annotations[PausedAnnotation] != "") {
			out = append(out, d)
		}
	}
	return out
}

func pause(ctx context.Context, to client.Client, d *v1alpha1.DataPlaneRollout, paused bool) error {
	before := d.DeepCopy()
	d = d.DeepCopy()
	if paused {
		metav1.SetMetaDataAnnotation(&d.ObjectMeta, PausedAnnotation, "true")
	} else {
		delete(d.Annotations, PausedAnnotation)
	}
	d.Spec.Paused = paused
	return to.Patch(ctx, d, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}

// rollout moves all data planes of a cluster at the pace of the upgrade.
func rollout(u *hub.MeshUpgrade, cu *v1alpha1.ClusterUpgrade) *v1alpha1.DataPlaneRollout {
	d := &v1alpha1.DataPlaneRollout{Spec: *u.Spec.Rollout.Spec.DeepCopy()}
	d.Name, d.Labels = u.Name, map[string]string{UpgradeLabel: u.Name}
	intent.RequestedBy(d, requester(u))
	d.Spec.Upgrade, d.Spec.Direction, d.Spec.Targets, d.Spec.Decisions = cu.Name, v1alpha1.Forward, nil, nil
	d.Spec.Paused, d.Spec.Stopped = false, false
	return d
}

// requester is who asked for what an upgrade of a mesh makes in its clusters.
func requester(u *hub.MeshUpgrade) string { return "MeshUpgrade " + u.Name + " of the hub" }

// applyUpgrade writes the fields of a ClusterUpgrade that are the hub's. Of one that somebody made in the cluster those are only the
// wishes.
func applyUpgrade(ctx context.Context, to client.Client, u *hub.MeshUpgrade, name string, ours bool, w wishes) error {
	metadata, spec := map[string]any{"name": name}, map[string]any{}
	if ours {
		metadata["labels"] = map[string]any{UpgradeLabel: u.Name}
		spec["version"] = u.Spec.Version
	}
	annotations := map[string]any{}
	if ours {
		annotations[v1alpha1.RequestedByAnnotation] = requester(u)
	}
	if w.paused {
		annotations[PausedAnnotation], spec["paused"] = "true", true
	}
	if w.decommission != nil {
		value, err := runtime.DefaultUnstructuredConverter.ToUnstructured(w.decommission)
		if err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
		annotations[DecommissionAnnotation], spec["decommission"] = "true", value
	}
	if len(annotations) > 0 {
		metadata["annotations"] = annotations
	}
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "ClusterUpgrade", "metadata": metadata, "spec": spec,
	}}
	return to.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner(hub.FieldManager), client.ForceOwnership)
}
