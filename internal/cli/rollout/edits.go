package rollout

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/intent"
	"meshlift.dev/meshlift/internal/view"
)

// editor writes the wishes of the user into one rollout. Each function can be repeated.
type editor struct {
	env    *env.Env
	client client.Client
	name   string
}

func (e editor) edit(ctx context.Context, change func(*v1alpha1.DataPlaneRollout) (bool, error)) error {
	r := &v1alpha1.DataPlaneRollout{}
	if err := e.client.Get(ctx, client.ObjectKey{Name: e.name}, r); err != nil {
		return e.env.API(fmt.Errorf("read DataPlaneRollout %q: %w", e.name, err))
	}
	if err := env.Edit(ctx, e.client, r, change); err != nil {
		return e.env.API(err)
	}
	return nil
}

func (e editor) stop(ctx context.Context) error {
	return e.edit(ctx, func(r *v1alpha1.DataPlaneRollout) (bool, error) {
		return intent.Set(&r.Spec.Stopped, true), nil
	})
}

func (e editor) pause(ctx context.Context, paused bool) error {
	return e.edit(ctx, func(r *v1alpha1.DataPlaneRollout) (bool, error) {
		return intent.Set(&r.Spec.Paused, paused), nil
	})
}

func (e editor) decide(ctx context.Context, failures []v1alpha1.WorkloadFailure, action v1alpha1.Decision) error {
	return e.edit(ctx, func(r *v1alpha1.DataPlaneRollout) (bool, error) {
		changed := false
		for _, f := range failures {
			changed = intent.Decide(r, f, action) || changed
		}
		return changed, nil
	})
}

// pickFailures returns the failures that the targets name, or all that wait for a decision.
func pickFailures(r *v1alpha1.DataPlaneRollout, targets []target) ([]v1alpha1.WorkloadFailure, error) {
	if len(targets) == 0 {
		return view.Undecided(r), nil
	}
	var out []v1alpha1.WorkloadFailure
	for _, t := range targets {
		found := false
		for _, f := range r.Status.Failures {
			if t.matches(view.DataPlane{Namespace: f.Namespace, Kind: f.Kind, Name: f.Name}) {
				out, found = append(out, f), true
			}
		}
		if !found {
			return nil, fmt.Errorf("%q has not failed in DataPlaneRollout %q", t, r.Name)
		}
	}
	return out, nil
}
