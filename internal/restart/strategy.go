package restart

import (
	"context"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/rollout"
)

// prepare makes a workload ready for the change of its pod template. What it changes for the time of the move it keeps in
// an annotation, in the same write, so a crash cannot lose it.
//
// A change of the owner that the update strategy holds back must not be shipped by the move. The decision saw none in a
// cache; here the object is the one of this moment, and the write fails when somebody changes it meanwhile.
func (t templated) prepare(ctx context.Context, o client.Object, a rollout.Action) error {
	began := o.GetAnnotations()[v1alpha1.StrategyAnnotation] != ""
	// On the way back, and when the label is there, the pods that are behind may be those of the move itself.
	first := a.Label && t.kind.template(o).Labels[v1alpha1.RevisionLabel] != a.Target
	switch w := o.(type) {
	case *appsv1.Deployment:
		if a.Surge && !began && w.Spec.Strategy.RollingUpdate != nil {
			return t.strategy(ctx, w, w.Spec.Strategy, "strategy", map[string]any{"rollingUpdate": map[string]any{"maxSurge": 1, "maxUnavailable": 0}})
		}
	case *appsv1.StatefulSet:
		if (a.Lower || a.Method == rollout.ByTemplateAndEviction) && mesh.StatefulSetBehind(w) && (first || a.Lower && !began) {
			return heldBack(a.Ref)
		}
		if u := w.Spec.UpdateStrategy.RollingUpdate; a.Lower && !began && u != nil && u.Partition != nil {
			return t.strategy(ctx, w, map[string]any{"rollingUpdate": map[string]any{"partition": *u.Partition}}, "updateStrategy", map[string]any{"rollingUpdate": map[string]any{"partition": 0}})
		}
	case *appsv1.DaemonSet:
		if a.Method == rollout.ByTemplateAndEviction && mesh.DaemonSetBehind(w) && first {
			return heldBack(a.Ref)
		}
	}
	return nil
}

func heldBack(ref mesh.Ref) error {
	return &Refusal{v1alpha1.FailureHeldBack, fmt.Sprintf("%s has just got a change that its update strategy holds back, and moving it would ship that change: finish it or take it back, then retry", ref)}
}

// End implements [Driver].
func (t templated) End(ctx context.Context, o client.Object) error {
	saved := o.GetAnnotations()[v1alpha1.StrategyAnnotation]
	if saved == "" {
		return nil
	}
	field := "strategy"
	if w, ok := o.(*appsv1.StatefulSet); ok {
		field = "updateStrategy"
		if w.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
			return t.strategy(ctx, o, nil, field, nil) // its owner chose another one meanwhile, which has no partition
		}
	}
	var strategy map[string]any
	if err := json.Unmarshal([]byte(saved), &strategy); err != nil {
		strategy = nil // somebody edited the annotation: nothing to restore from
	}
	err := t.strategy(ctx, o, nil, field, strategy)
	if strategy != nil && (apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)) {
		// So did somebody here: what can never be restored would keep the rollout from its end.
		return t.strategy(ctx, o, nil, field, nil)
	}
	return err
}

// strategy writes the annotation (a value for JSON, nil to remove it) and the strategy (nil to leave it) together.
func (t templated) strategy(ctx context.Context, o client.Object, saved any, field string, strategy map[string]any) error {
	var text any
	if saved != nil {
		b, err := json.Marshal(saved)
		if err != nil {
			return fmt.Errorf("save the strategy of %s/%s: %w", o.GetNamespace(), o.GetName(), err)
		}
		text = string(b)
	}
	patch := map[string]any{"metadata": map[string]any{
		"annotations":     map[string]any{v1alpha1.StrategyAnnotation: text},
		"resourceVersion": o.GetResourceVersion(),
	}}
	if strategy != nil {
		patch["spec"] = map[string]any{field: strategy}
	}
	raw, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encode the strategy of %s/%s: %w", o.GetNamespace(), o.GetName(), err)
	}
	if err := t.Writer.Patch(ctx, o, client.RawPatch(types.MergePatchType, raw), client.FieldOwner(v1alpha1.FieldManager+"-surge")); err != nil {
		return fmt.Errorf("change the strategy of %s %s/%s: %w", t.kind.gvk.Kind, o.GetNamespace(), o.GetName(), err)
	}
	return nil
}
