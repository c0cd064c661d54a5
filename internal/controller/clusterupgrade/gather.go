package clusterupgrade

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/upgrade"
)

// gather is the only place of the controller that reads.
func (r *Reconciler) gather(ctx context.Context, cu *v1alpha1.ClusterUpgrade) (upgrade.Snapshot, error) {
	s := upgrade.Snapshot{Connections: upgrade.Connections{Known: true}}
	var err error
	if s.Inventory, err = r.Observer.Inventory(ctx); err != nil {
		return s, fmt.Errorf("read the mesh: %w", err)
	}
	if err := r.accept(ctx, cu, &s); err != nil || s.Refused != "" {
		return s, err
	}
	if s.Hub, err = r.hub(ctx, cu); err != nil {
		return s, err
	}
	s.ControlPlane = r.controlPlane(ctx, cu, s)
	if s.Admission.Handover, err = r.Router.Present(ctx, final(cu)); err != nil {
		return s, err
	}
	if s.Admission.Guards, err = r.Router.Guarded(ctx, final(cu)); err != nil {
		return s, fmt.Errorf("read the guard policies: %w", err)
	}
	s.Connections = r.connections(ctx, cu, s)
	return s, nil
}

// accept fixes the two revisions of the upgrade, or finds out why it is refused. What was accepted once stays accepted.
func (r *Reconciler) accept(ctx context.Context, cu *v1alpha1.ClusterUpgrade, s *upgrade.Snapshot) error {
	if cu.Status.From != nil && cu.Status.To != nil && meta.IsStatusConditionTrue(cu.Status.Conditions, v1alpha1.ConditionAccepted) {
		s.From, s.To = *cu.Status.From, *cu.Status.To
		return nil
	}
	cat, err := r.Catalog(ctx)
	if err != nil {
		return fmt.Errorf("read the catalog: %w", err)
	}
	others := &v1alpha1.ClusterUpgradeList{}
	if err := r.Client.List(ctx, others); err != nil {
		return fmt.Errorf("list upgrades: %w", err)
	}
	v := gate.StartUpgrade(gate.UpgradeInput{
		Upgrade: cu, Others: others.Items, Inventory: s.Inventory, Catalog: cat,
	})
	if !v.Passed() {
		s.Refused, s.RefusedReason = v.Message, v.Reason
		return nil
	}
	from, _ := gate.From(cu, s.Inventory)
	full, _ := cat.Resolve(cu.Spec.Version)
	s.From = v1alpha1.RevisionRef{Revision: from.Name, Version: from.Version}
	s.To = v1alpha1.RevisionRef{Revision: gate.Target(cu), Version: full}
	return nil
}

// hub reads what the hub says. That there is no ControlPlane is no sign that there is no hub: the agent makes it when it starts.
func (r *Reconciler) hub(ctx context.Context, cu *v1alpha1.ClusterUpgrade) (upgrade.Hub, error) {
	h := upgrade.Hub{Upgrade: cu.UID, Glass: strings.TrimSpace(cu.Annotations[v1alpha1.BreakGlassAnnotation])}
	cp := &v1alpha1.ControlPlane{}
	err := r.Client.Get(ctx, types.NamespacedName{Name: v1alpha1.SingletonName}, cp)
	switch {
	case apierrors.IsNotFound(err):
		h.Unknown = fmt.Sprintf("ControlPlane %q, in which it writes, is not there: restart the agent, which makes it", v1alpha1.SingletonName)
	case err != nil:
		return h, fmt.Errorf("read the ControlPlane: %w", err)
	}
	h.Link = cp.Spec.Hub
	return h, nil
}

// controlPlane verifies the new istiod.
func (r *Reconciler) controlPlane(ctx context.Context, cu *v1alpha1.ClusterUpgrade, s upgrade.Snapshot) upgrade.ControlPlaneFacts {
	to, installed := s.Inventory.Revision(s.To.Revision)
	if c := meta.FindStatusCondition(cu.Status.Conditions, v1alpha1.ConditionControlPlaneReady); c != nil &&
		c.Reason == v1alpha1.ReasonInstallFailed && c.ObservedGeneration == cu.Generation && !installed {
		return upgrade.ControlPlaneFacts{Failed: c.Message}
	}
	if !installed {
		return upgrade.ControlPlaneFacts{}
	}
	ready, message, err := r.verify(ctx, cu, to)
	if err != nil {
		return upgrade.ControlPlaneFacts{Message: fmt.Sprintf("its readiness cannot be read: %v", err)}
	}
	return upgrade.ControlPlaneFacts{
		Ready: ready, Message: message,
		Installed: cu.Status.Values != nil && cu.Status.ObservedGeneration == cu.Generation && injects(s.Inventory, to.Name),
	}
}

// injects tells whether the revision has an injector of its own.
func injects(inv *mesh.Inventory, revision string) bool {
	return slices.ContainsFunc(inv.Configurations, func(c mesh.Configuration) bool {
		return c.Tag == "" && slices.ContainsFunc(c.Webhooks, func(w mesh.Injector) bool { return w.Revision == revision && !w.Handover })
	})
}

// connections asks the old istiod only when the answer matters: when everything seems to have moved.
func (r *Reconciler) connections(ctx context.Context, cu *v1alpha1.ClusterUpgrade, s upgrade.Snapshot) upgrade.Connections {
	from, exists := s.Inventory.Revision(s.From.Revision)
	moved := meta.IsStatusConditionTrue(cu.Status.Conditions, v1alpha1.ConditionDataPlanesMoved)
	if !exists || !moved && cu.Spec.Decommission == nil {
		return upgrade.Connections{Known: true}
	}
	live, err := r.Connector.Connections(ctx, from)
	if err != nil {
		return upgrade.Connections{Problem: err.Error()}
	}
	return upgrade.Connections{Known: true, Live: live}
}

func finishedConditions(cu *v1alpha1.ClusterUpgrade) bool {
	return meta.IsStatusConditionTrue(cu.Status.Conditions, v1alpha1.ConditionReady)
}

// selectors are the values of the namespace label istio.io/rev that an injector serves, for the guards.
func selectors(inv *mesh.Inventory) (revisions []string, enabled bool) {
	for _, r := range inv.Revisions {
		revisions = append(revisions, r.Name)
		revisions = append(revisions, r.Tags...)
	}
	return revisions, inv.Resolve(mesh.DefaultRevision) != ""
}

// neverInjected are the namespaces that injectors select and that hold a live pod without a sidecar that has not opted
// out: somebody labelled the namespace and did not restart the pod, or the injection policy leaves it alone. The guard
// must not refuse such pods.
func neverInjected(inv *mesh.Inventory) []string {
	var out []string
	for _, w := range inv.Workloads {
		if len(inv.InjectedBy(inv.Facts(w))) == 0 {
			continue
		}
		for _, p := range w.Pods {
			if p.Revision == "" {
				out = append(out, w.Namespace)
				break
			}
		}
	}
	return out
}
