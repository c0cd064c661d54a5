package webhook

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/gate"
)

type upgradeValidator struct{ o Options }

// ValidateCreate refuses an upgrade that could not start.
func (v upgradeValidator) ValidateCreate(ctx context.Context, u *v1alpha1.ClusterUpgrade) (admission.Warnings, error) {
	if err := refuse(gate.Acknowledgements(nil, u.Spec.EnvoyFilters)); err != nil {
		return nil, err
	}
	inventory, err := v.o.Inventory(ctx)
	if err != nil {
		return nil, unknown("the Istio of the cluster", err)
	}
	offered, err := v.o.Catalog(ctx)
	if err != nil {
		return nil, unknown("the catalog", err)
	}
	var others v1alpha1.ClusterUpgradeList
	if err := v.o.Reader.List(ctx, &others); err != nil {
		return nil, unknown("the other upgrades", err)
	}
	return nil, refuse(gate.StartUpgrade(gate.UpgradeInput{
		Upgrade: u, Others: others.Items, Inventory: inventory, Catalog: offered, Ours: v.o.Ours,
	}))
}

// ValidateUpdate checks new acknowledgements and warns of those that do not count. What must not change is refused by
// the rules in the schema.
func (v upgradeValidator) ValidateUpdate(_ context.Context, before, after *v1alpha1.ClusterUpgrade) (admission.Warnings, error) {
	if !after.DeletionTimestamp.IsZero() {
		return nil, nil // only finalizers matter now, and nothing may keep them
	}
	if err := refuse(gate.Acknowledgements(before.Spec.EnvoyFilters, after.Spec.EnvoyFilters)); err != nil {
		return nil, err
	}
	return gate.Stale(after), nil
}

// ValidateDelete refuses to forget an upgrade that data planes or admission depend on.
func (v upgradeValidator) ValidateDelete(ctx context.Context, u *v1alpha1.ClusterUpgrade) (admission.Warnings, error) {
	if gate.Finished(u) || u.Status.To == nil {
		return nil, nil // the answer does not depend on the inventory, so that one that cannot be read is not in the way
	}
	inventory, err := v.o.Inventory(ctx)
	if err != nil {
		return nil, unknown("the Istio of the cluster", err)
	}
	return nil, refuse(gate.DeleteUpgrade(gate.DeleteInput{Upgrade: u, Inventory: inventory}))
}
