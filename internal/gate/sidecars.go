package gate

import (
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/sidecar"
)

// ConfigureSidecars says whether the configuration of sidecars may become what the ControlPlane says now. It is frozen while an
// upgrade is not finished, unless somebody breaks the glass.
func ConfigureSidecars(before, after *v1alpha1.ControlPlane, upgrades []v1alpha1.ClusterUpgrade) Verdict {
	if apiequality.Semantic.DeepEqual(before.Spec.Sidecars, after.Spec.Sidecars) {
		return Pass()
	}
	if err := sidecar.Validate(after.Spec.Sidecars); err != nil {
		return Block(v1alpha1.ReasonUserAction, "%s", err)
	}
	if glass := after.Annotations[v1alpha1.BreakGlassAnnotation]; glass != "" && glass != before.Annotations[v1alpha1.BreakGlassAnnotation] {
		return Pass()
	}
	if u := Unfinished(upgrades, ""); u != nil {
		return Block(v1alpha1.ReasonAnotherUpgrade, "the configuration of sidecars cannot change while ClusterUpgrade %q is not finished and its old istiod exists: finish it with `meshlift decommission`, or delete it", u.Name)
	}
	return Pass()
}

// ApplySidecars says whether the configuration of sidecars may be brought to the istiods now.
func ApplySidecars(cp *v1alpha1.ControlPlane, upgrades []v1alpha1.ClusterUpgrade) Verdict {
	if cp.Annotations[v1alpha1.BreakGlassAnnotation] != "" {
		return Pass()
	}
	if u := Unfinished(upgrades, ""); u != nil {
		return Wait(v1alpha1.ReasonAnotherUpgrade, "the configuration of sidecars is not touched while ClusterUpgrade %q is not finished: it is applied when its old istiod is gone", u.Name)
	}
	return Pass()
}
