// Package propose works out what an upgrade would be before it exists: from which revision, to which version, and whether a
// gate refuses it. The commands "plan" and "upgrade start" share it.
package propose

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/catalog"
	"meshlift.dev/meshlift/internal/cli/env"
	"meshlift.dev/meshlift/internal/cli/exit"
	"meshlift.dev/meshlift/internal/preflight"
	"meshlift.dev/meshlift/internal/proposal"
)

// Look connects and makes the proposal of commands that only look: see [New].
func Look(ctx context.Context, e *env.Env, w proposal.Wish) (*proposal.Proposal, error) {
	c, err := e.Client()
	if err != nil {
		return nil, err
	}
	return New(ctx, e, c, w, true)
}

// New reads the cluster and makes the proposal. A refusal is not an error, it is in the verdict. With existing, which is for
// looking only, the running upgrade is preferred when the wish is empty, and Meshlift need not be installed.
func New(ctx context.Context, e *env.Env, c client.Client, w proposal.Wish, existing bool) (*proposal.Proposal, error) {
	cp, upgrades, cat, err := known(ctx, e, c)
	if errors.Is(err, exit.ErrNotInstalled) && existing {
		err = nil // A plan needs only the mesh itself.
	}
	if err != nil {
		return nil, err
	}
	inv, err := e.Inventory(ctx, c, env.IstioNamespace(cp))
	if err != nil {
		return nil, e.API(fmt.Errorf("read the mesh: %w", err))
	}
	if existing && w == (proposal.Wish{}) {
		if p := proposal.Running(upgrades, inv); p != nil {
			p.Catalog = cat
			return p, nil
		}
	}
	return proposal.New(w, cat, inv, upgrades), nil
}

// known reads what Meshlift's own objects say. Where its kinds are missing that is an error, and the built-in catalog.
func known(ctx context.Context, e *env.Env, c client.Client) (*v1alpha1.ControlPlane, []v1alpha1.ClusterUpgrade, catalog.Catalog, error) {
	cat := catalog.Default()
	cp, err := e.ControlPlane(ctx, c)
	if err != nil {
		return nil, nil, cat, err
	}
	upgrades, err := e.Upgrades(ctx, c)
	if err != nil {
		return nil, nil, cat, err
	}
	cat, err = effective(ctx, e, c)
	return cp, upgrades, cat, err
}

// effective is the built-in catalog with that of the cluster over it.
func effective(ctx context.Context, e *env.Env, c client.Client) (catalog.Catalog, error) {
	cat := catalog.Default()
	override := &v1alpha1.Catalog{}
	err := c.Get(ctx, client.ObjectKey{Name: v1alpha1.SingletonName}, override)
	switch {
	case apierrors.IsNotFound(err):
		return cat, nil
	case err != nil:
		return cat, e.API(fmt.Errorf("read Catalog %q: %w", v1alpha1.SingletonName, err))
	}
	return cat.Merge(&override.Spec), nil
}

// Check surveys the cluster with the credentials of the user and makes every check of the preflight; those that are ignored are marked. An unknown
// name among these is an error of usage.
func Check(ctx context.Context, e *env.Env, p *proposal.Proposal, ignored []string) (preflight.Report, *preflight.Facts, error) {
	f := p.Facts(e.Now())
	if err := e.Survey(ctx, f); err != nil {
		return preflight.Report{}, nil, e.API(fmt.Errorf("survey the cluster: %w", err))
	}
	r := preflight.NewReport(f)
	if unknown := preflight.Ignore(r.Checks, ignored); len(unknown) > 0 {
		return r, f, exit.Usagef("there is no check %q: see %q", unknown[0], e.Program+" check --list")
	}
	r.Count()
	return r, f, nil
}
