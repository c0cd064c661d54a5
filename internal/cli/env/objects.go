package env

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/view"
)

// ControlPlane returns the ControlPlane of the cluster; nil when the agent has not made it yet.
func (e *Env) ControlPlane(ctx context.Context, c client.Client) (*v1alpha1.ControlPlane, error) {
	cp := &v1alpha1.ControlPlane{}
	err := c.Get(ctx, client.ObjectKey{Name: v1alpha1.SingletonName}, cp)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, e.API(fmt.Errorf("read ControlPlane %q: %w", v1alpha1.SingletonName, err))
	}
	return cp, nil
}

// IstioNamespace returns the namespace of the control planes.
func IstioNamespace(cp *v1alpha1.ControlPlane) string {
	if cp == nil || cp.Spec.IstioNamespace == "" {
		return "istio-system"
	}
	return cp.Spec.IstioNamespace
}

// Upgrades lists all upgrades by name.
func (e *Env) Upgrades(ctx context.Context, c client.Client) ([]v1alpha1.ClusterUpgrade, error) {
	var list v1alpha1.ClusterUpgradeList
	if err := c.List(ctx, &list); err != nil {
		return nil, e.API(fmt.Errorf("list ClusterUpgrades: %w", err))
	}
	slices.SortFunc(list.Items, func(a, b v1alpha1.ClusterUpgrade) int { return strings.Compare(a.Name, b.Name) })
	return list.Items, nil
}

// Rollouts lists all rollouts.
func (e *Env) Rollouts(ctx context.Context, c client.Client) ([]v1alpha1.DataPlaneRollout, error) {
	var list v1alpha1.DataPlaneRolloutList
	if err := c.List(ctx, &list); err != nil {
		return nil, e.API(fmt.Errorf("list DataPlaneRollouts: %w", err))
	}
	return list.Items, nil
}

// Upgrade returns the upgrade with that name; "" means the running one. That there is none is a refusal.
func (e *Env) Upgrade(ctx context.Context, c client.Client, name string) (*v1alpha1.ClusterUpgrade, error) {
	if name != "" {
		u := &v1alpha1.ClusterUpgrade{}
		err := c.Get(ctx, client.ObjectKey{Name: name}, u)
		if apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("there is no upgrade %q; see %q", name, e.Program+" upgrade list")
		}
		if err != nil {
			return nil, e.API(fmt.Errorf("read ClusterUpgrade %q: %w", name, err))
		}
		return u, nil
	}
	all, err := e.Upgrades(ctx, c)
	if err != nil {
		return nil, err
	}
	if u := view.Current(all); u != nil {
		return u, nil
	}
	return nil, exit.Refusedf("no upgrade runs in this cluster: start one with %q", e.Program+" upgrade start --to VERSION")
}

// Edit changes an object by a patch that fails when somebody else was faster, and then tries again with what the other
// wrote. Change must be repeatable; it returns false when there is nothing to change.
func Edit[T client.Object](ctx context.Context, c client.Client, obj T, change func(T) (bool, error)) error {
	key := client.ObjectKeyFromObject(obj)
	first := true
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if !first {
			if err := c.Get(ctx, key, obj); err != nil {
				return err
			}
		}
		first = false
		before := obj.DeepCopyObject().(T)
		changed, err := change(obj)
		if err != nil || !changed {
			return err
		}
		return c.Patch(ctx, obj, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	})
}

// Deadline limits a wait; zero is no limit.
func Deadline(ctx context.Context, after time.Duration) (context.Context, context.CancelFunc) {
	if after <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, after)
}
