// Package proposal works out what an upgrade would be before it exists: from which revision, to which version, and whether a
// gate refuses it. It is pure.
package proposal

import (
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/catalog"
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
	// Catalog in effect; empty for an upgrade that runs, unless it is filled in.
	Catalog catalog.Catalog
}

// Running is the proposal for the upgrade that runs already; nil when none does.
func Running(upgrades []v1alpha1.ClusterUpgrade, inv *mesh.Inventory) *Proposal {
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

// New makes the proposal. A refusal is in the verdict.
func New(w Wish, cat catalog.Catalog, inv *mesh.Inventory, upgrades []v1alpha1.ClusterUpgrade) *Proposal {
	u := &v1alpha1.ClusterUpgrade{Spec: v1alpha1.ClusterUpgradeSpec{Version: w.Version, Revision: w.Revision, FromRevision: w.From}}
	p := &Proposal{Inventory: inv, Upgrade: u, Catalog: cat}
	if w.Version == "" {
		from, v := gate.From(u, inv)
		if !v.Passed() {
			p.Verdict = v
			return p
		}
		targets := cat.Targets(from.Version, inv.KubernetesVersion)
		if len(targets) == 0 {
			p.From = from
			p.Verdict = gate.Block(v1alpha1.ReasonUnsupportedPath, "No upgrade from Istio %s is supported on Kubernetes %s: there is nothing to do, or add a path to the Catalog object %q",
				from.Version, inv.KubernetesVersion, v1alpha1.SingletonName)
			return p
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
	return p
}
