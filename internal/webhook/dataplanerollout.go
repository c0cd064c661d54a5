package webhook

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/gate"
)

type rolloutValidator struct{ o Options }

// ValidateCreate refuses a rollout that could not start.
func (v rolloutValidator) ValidateCreate(ctx context.Context, r *v1alpha1.DataPlaneRollout) (admission.Warnings, error) {
	in := gate.RolloutInput{Rollout: r}
	upgrade := &v1alpha1.ClusterUpgrade{}
	switch err := v.o.Reader.Get(ctx, client.ObjectKey{Name: r.Spec.Upgrade}, upgrade); {
	case err == nil:
		in.Upgrade = upgrade
	case !apierrors.IsNotFound(err):
		return nil, unknown("ClusterUpgrade "+r.Spec.Upgrade, err)
	}
	var others v1alpha1.DataPlaneRolloutList
	if err := v.o.Reader.List(ctx, &others); err != nil {
		return nil, unknown("the other rollouts", err)
	}
	in.Others = others.Items
	namespaces, err := v.namespaces(ctx, r.Spec.Targets)
	if err != nil {
		return nil, err
	}
	in.HasNamespace = func(name string) bool { return namespaces[name] }
	return nil, refuse(gate.StartRollout(in))
}

// namespaces returns which of the targets' namespaces exist.
func (v rolloutValidator) namespaces(ctx context.Context, targets []v1alpha1.RolloutTarget) (map[string]bool, error) {
	out := map[string]bool{}
	for _, t := range targets {
		if _, asked := out[t.Namespace]; asked {
			continue
		}
		err := v.o.Reader.Get(ctx, client.ObjectKey{Name: t.Namespace}, &corev1.Namespace{})
		if client.IgnoreNotFound(err) != nil {
			return nil, unknown("namespace "+t.Namespace, err)
		}
		out[t.Namespace] = err == nil
	}
	return out, nil
}

// ValidateUpdate checks the pace when it changes. What must not change is refused by the rules in the schema.
func (rolloutValidator) ValidateUpdate(_ context.Context, before, after *v1alpha1.DataPlaneRollout) (admission.Warnings, error) {
	if !after.DeletionTimestamp.IsZero() || apiequality.Semantic.DeepEqual(before.Spec, after.Spec) {
		return nil, nil // finalizers and status: nothing may keep them
	}
	return nil, refuse(gate.Pace(&after.Spec))
}

// ValidateDelete passes: workloads in motion finish by themselves.
func (rolloutValidator) ValidateDelete(context.Context, *v1alpha1.DataPlaneRollout) (admission.Warnings, error) {
	return nil, nil
}
