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
	"meshlift.dev/meshlift/internal/gate"
	"meshlift.dev/meshlift/internal/mesh"
)

// Wish is what the user asked for.
type Wish struct {
	// Version to go to, minor or full; "" means the newest that is supported from here.
	Version string
	// Revision is the name of the new revision; "" means the one that is made from the version.
	Revision string
	// From is the revision to leave; "" means the only one in use.
	From string
}

// Proposal is an upgrade that does not exist yet, or the one that runs.
type Proposal struct {
	Inventory *mesh.Inventory
	// Upgrade as it would be created; the running one when there is one.
	Upgrade *v1alpha1.ClusterUpgrade
	// Running is true when the upgrade exists.
	Running bool
	// From is the revision that is left.
	From mesh.Revision
	// To is the revision that is entered, with its full version.
	To v1alpha1.RevisionRef
	// Verdict of the gates.
	Verdict gate.Verdict
}

// New reads the cluster and makes the proposal. A refusal is not an error, it is in the verdict. With existing, which is for
// looking only, the running upgrade is preferred when the wish is empty, and Meshlift need not be installed.
func New(ctx context.Context, e *env.Env, c client.Client, w Wish, existing bool) (*Proposal, error) {
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
	if existing && w == (Wish{}) {
		if p := running(upgrades, inv); p != nil {
			return p, nil
		}
	}
	return propose(w, cat, inv, upgrades)
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

func running(upgrades []v1alpha1.ClusterUpgrade, inv *mesh.Inventory) *Proposal {
	u := gate.Unfinished(upgrades, "")
	if u == nil || u.Status.From == nil || u.Status.To == nil {
		return nil
	}
	from, ok := inv.Revision(u.Status.From.Revision)
	if !ok {
		from = mesh.Revision{Name: u.Status.From.Revision, Version: u.Status.From.Version}
	}
	return &Proposal{Inventory: inv, Upgrade: u, Running: true, From: from, To: *u.Status.To, Verdict: gate.Pass()}
}

func propose(w Wish, cat catalog.Catalog, inv *mesh.Inventory, upgrades []v1alpha1.ClusterUpgrade) (*Proposal, error) {
	u := &v1alpha1.ClusterUpgrade{Spec: v1alpha1.ClusterUpgradeSpec{Version: w.Version, Revision: w.Revision, FromRevision: w.From}}
	p := &Proposal{Inventory: inv, Upgrade: u}
	if w.Version == "" {
		from, v := gate.From(u, inv)
		if !v.Passed() {
			p.Verdict = v
			return p, nil
		}
		targets := cat.Targets(from.Version, inv.KubernetesVersion)
		if len(targets) == 0 {
			return nil, exit.Refusedf("No upgrade from Istio %s is supported on Kubernetes %s: there is nothing to do, or add a path to the Catalog object %q",
				from.Version, inv.KubernetesVersion, v1alpha1.SingletonName)
		}
		u.Spec.Version = targets[len(targets)-1]
	}
	p.To.Revision = gate.Target(u)
	full, refusal := cat.Resolve(u.Spec.Version)
	p.To.Version = full
	p.Verdict = gate.StartUpgrade(gate.UpgradeInput{Upgrade: u, Others: upgrades, Inventory: inv, Catalog: cat})
	if p.Verdict.Passed() && refusal != nil {
		p.Verdict = gate.Block(refusal.Reason, "%s", refusal.Message)
	}
	if p.To.Version == "" {
		p.To.Version = u.Spec.Version
	}
	p.From, _ = gate.From(u, inv)
	return p, nil
}
