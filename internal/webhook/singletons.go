package webhook

import (
	"context"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/catalog"
	"meshlift.dev/meshlift/internal/gate"
)

type catalogValidator struct{}

// ValidateCreate refuses a Catalog that would leave the catalog in effect broken.
func (catalogValidator) ValidateCreate(_ context.Context, c *v1alpha1.Catalog) (admission.Warnings, error) {
	return nil, catalog.Default().Merge(&c.Spec).Validate()
}

// ValidateUpdate is the same as ValidateCreate.
func (v catalogValidator) ValidateUpdate(ctx context.Context, _, after *v1alpha1.Catalog) (admission.Warnings, error) {
	return v.ValidateCreate(ctx, after)
}

// ValidateDelete passes: the built-in catalog remains.
func (catalogValidator) ValidateDelete(context.Context, *v1alpha1.Catalog) (admission.Warnings, error) {
	return nil, nil
}

type controlPlaneValidator struct{ o Options }

// ValidateCreate refuses windows, freezes and a configuration of sidecars that cannot be read.
func (controlPlaneValidator) ValidateCreate(_ context.Context, cp *v1alpha1.ControlPlane) (admission.Warnings, error) {
	if err := refuse(gate.ClusterWindows(cp)); err != nil {
		return nil, err
	}
	return nil, refuse(gate.ConfigureSidecars(&v1alpha1.ControlPlane{}, cp, nil))
}

// ValidateUpdate refuses windows and freezes that cannot be read, and in the middle of an upgrade to look at another namespace
// or to configure sidecars.
func (v controlPlaneValidator) ValidateUpdate(ctx context.Context, before, after *v1alpha1.ControlPlane) (admission.Warnings, error) {
	if !apiequality.Semantic.DeepEqual(before.Spec, after.Spec) && after.DeletionTimestamp.IsZero() {
		if err := refuse(gate.ClusterWindows(after)); err != nil {
			return nil, err
		}
	}
	if before.Spec.IstioNamespace == after.Spec.IstioNamespace && apiequality.Semantic.DeepEqual(before.Spec.Sidecars, after.Spec.Sidecars) {
		return nil, nil
	}
	var upgrades v1alpha1.ClusterUpgradeList
	if err := v.o.Reader.List(ctx, &upgrades); err != nil {
		return nil, unknown("the upgrades", err)
	}
	if err := refuse(gate.MoveIstioNamespace(before.Spec.IstioNamespace, after.Spec.IstioNamespace, upgrades.Items)); err != nil {
		return nil, err
	}
	return nil, refuse(gate.ConfigureSidecars(before, after, upgrades.Items))
}

// ValidateDelete passes: the agent makes the object again.
func (controlPlaneValidator) ValidateDelete(context.Context, *v1alpha1.ControlPlane) (admission.Warnings, error) {
	return nil, nil
}
