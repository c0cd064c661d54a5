package gate

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/catalog"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/version"
)

// UpgradeInput is what the start of an upgrade depends on.
type UpgradeInput struct {
	// Upgrade that wants to start. Its status counts: what was accepted before is not asked again.
	Upgrade *v1alpha1.ClusterUpgrade
	// Others are the ClusterUpgrades of the cluster; Upgrade itself among them does not matter.
	Others []v1alpha1.ClusterUpgrade
	// Inventory of the cluster.
	Inventory *mesh.Inventory
	// Catalog in effect.
	Catalog catalog.Catalog
	// Ours tells whether Meshlift itself installed a revision; nil means none.
	Ours func(mesh.Revision) bool
}

// StartUpgrade says whether an upgrade may start.
func StartUpgrade(in UpgradeInput) Verdict {
	return Chain[UpgradeInput]{
		noOtherUpgrade,     // one at a time, or two upgrades would pull at the same workloads
		fromRevisionIsOne,  // it is clear what is left
		versionsSupported,  // the catalog has the path, and this Kubernetes
		revisionsDiffer,    // a canary needs two names
		targetRevisionFree, // nothing of somebody else's is overwritten
	}.Evaluate(in)
}

// Finished tells whether an upgrade has reached its end.
func Finished(u *v1alpha1.ClusterUpgrade) bool {
	return meta.IsStatusConditionTrue(u.Status.Conditions, v1alpha1.ConditionReady) ||
		meta.IsStatusConditionTrue(u.Status.Conditions, v1alpha1.ConditionDecommissioned)
}

// Unfinished returns the first upgrade that has not reached its end, other than the one named except; nil when none.
func Unfinished(upgrades []v1alpha1.ClusterUpgrade, except string) *v1alpha1.ClusterUpgrade {
	n := slices.IndexFunc(upgrades, func(u v1alpha1.ClusterUpgrade) bool { return u.Name != except && !Finished(&u) })
	if n < 0 {
		return nil
	}
	return &upgrades[n]
}

func noOtherUpgrade(in UpgradeInput) Verdict {
	for n := range in.Others {
		o := &in.Others[n]
		if o.Name == in.Upgrade.Name || Finished(o) || !cameFirst(o, in.Upgrade) {
			continue
		}
		return Block(v1alpha1.ReasonAnotherUpgrade,
			"ClusterUpgrade %q to Istio %s is not finished, and a cluster does one upgrade at a time: finish it, or move back with `meshlift rollout --back` and delete it",
			o.Name, o.Spec.Version)
	}
	return Pass()
}

// cameFirst orders upgrades so that of several exactly one goes on: an accepted one before all, then the oldest. What is
// stored came before what is being created.
func cameFirst(o, u *v1alpha1.ClusterUpgrade) bool {
	if u.ResourceVersion == "" {
		return true
	}
	oAccepted, uAccepted := accepted(o), accepted(u)
	if oAccepted != uAccepted {
		return oAccepted
	}
	if o.CreationTimestamp.Equal(&u.CreationTimestamp) {
		return o.Name < u.Name
	}
	return o.CreationTimestamp.Before(&u.CreationTimestamp)
}

func accepted(u *v1alpha1.ClusterUpgrade) bool {
	return meta.IsStatusConditionTrue(u.Status.Conditions, v1alpha1.ConditionAccepted)
}

// Target is the name of the revision that an upgrade enters: spec.revision, else the one that is made from the version.
// It is "" when the version cannot be read.
func Target(u *v1alpha1.ClusterUpgrade) string {
	if u.Spec.Revision != "" {
		return u.Spec.Revision
	}
	minor, err := version.ParseMinor(u.Spec.Version)
	if err != nil {
		return ""
	}
	return minor.Revision()
}

// From returns the revision that an upgrade leaves: the accepted one, else spec.fromRevision, else the only one that is
// in use besides the target.
func From(u *v1alpha1.ClusterUpgrade, inv *mesh.Inventory) (mesh.Revision, Verdict) {
	name := u.Spec.FromRevision
	if u.Status.From != nil {
		name = u.Status.From.Revision
	}
	if name != "" {
		if r, ok := inv.Revision(name); ok {
			return r, Pass()
		}
		return mesh.Revision{}, Block(v1alpha1.ReasonUnknownRevision, "there is no istiod of revision %q in namespace %q: the revisions there are %s",
			name, inv.IstioNamespace, orNone(revisionNames(inv.Revisions)))
	}
	others := slices.DeleteFunc(slices.Clone(inv.Revisions), func(r mesh.Revision) bool { return r.Name == Target(u) })
	used := inUse(inv)
	candidates := slices.DeleteFunc(slices.Clone(others), func(r mesh.Revision) bool { return !used[r.Name] })
	if len(candidates) == 0 {
		candidates = others
	}
	switch len(candidates) {
	case 1:
		return candidates[0], Pass()
	case 0:
		return mesh.Revision{}, Block(v1alpha1.ReasonUnknownRevision,
			"there is no istiod to upgrade from in namespace %q: install Istio first, or set istioNamespace of ControlPlane %q", inv.IstioNamespace, v1alpha1.SingletonName)
	default:
		return mesh.Revision{}, Block(v1alpha1.ReasonAmbiguousRevision, "several revisions could be the old one (%s): say which with spec.fromRevision (`--from`)",
			list(revisionNames(candidates)))
	}
}

// inUse returns the revisions that inject a pod or would inject the next one.
func inUse(inv *mesh.Inventory) map[string]bool {
	used := map[string]bool{}
	add := func(revisions ...string) {
		for _, r := range revisions {
			used[r] = true
		}
	}
	for _, w := range inv.Workloads {
		add(inv.InjectedBy(inv.Facts(w))...)
		for _, p := range w.Pods {
			add(p.Revision)
		}
	}
	for _, p := range inv.LoosePods {
		add(p.Revision)
	}
	for name, ns := range inv.Namespaces {
		add(inv.InjectedBy(mesh.PodFacts{Namespace: name, NamespaceLabels: ns.Labels})...)
	}
	return used
}

func fromRevisionIsOne(in UpgradeInput) Verdict {
	_, v := From(in.Upgrade, in.Inventory)
	return v
}

func versionsSupported(in UpgradeInput) Verdict {
	from, _ := From(in.Upgrade, in.Inventory)
	if in.Upgrade.Status.From != nil && accepted(in.Upgrade) {
		return Pass() // a catalog that changes later does not stop an upgrade in flight
	}
	if from.Version == "" {
		return Block(v1alpha1.ReasonUnknownVersion, "the Istio version of revision %q cannot be read from its image tag %q: give the Deployment %s/%s an image whose tag is a version",
			from.Name, from.Tag, in.Inventory.IstioNamespace, from.Deployment)
	}
	if _, refusal := in.Catalog.Resolve(in.Upgrade.Spec.Version); refusal != nil {
		return refused(refusal)
	}
	return refused(in.Catalog.Check(from.Version, in.Upgrade.Spec.Version, in.Inventory.KubernetesVersion))
}

func refused(r *catalog.Refusal) Verdict {
	if r == nil {
		return Pass()
	}
	return Block(r.Reason, "%s", r.Message)
}

func revisionsDiffer(in UpgradeInput) Verdict {
	from, _ := From(in.Upgrade, in.Inventory)
	if target := Target(in.Upgrade); from.Name == target {
		return Block(v1alpha1.ReasonRevisionConflict, "the old and the new revision are both called %q: give the new one another name with spec.revision (`--revision`)", target)
	}
	return Pass()
}

func targetRevisionFree(in UpgradeInput) Verdict {
	target := Target(in.Upgrade)
	if to := in.Upgrade.Status.To; to != nil && to.Revision == target {
		return Pass() // it was free when the upgrade was accepted
	}
	there, ok := in.Inventory.Revision(target)
	if !ok || in.Ours != nil && in.Ours(there) {
		return Pass()
	}
	return Block(v1alpha1.ReasonRevisionConflict,
		"revision %q exists already (Istio %s, installed by %s) and Meshlift did not install it: choose another name with spec.revision (`--revision`), or uninstall it first",
		target, there.Version, there.InstalledBy)
}

func revisionNames(revisions []mesh.Revision) []string {
	var out []string
	for _, r := range revisions {
		out = append(out, r.Name)
	}
	return out
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return list(names)
}

// DeleteInput is what the deletion of an upgrade depends on.
type DeleteInput struct {
	Upgrade   *v1alpha1.ClusterUpgrade
	Inventory *mesh.Inventory
}

// DeleteUpgrade says whether a ClusterUpgrade may be deleted. A finished one always may, and one of which no data plane
// has moved: its handover and its new istiod are taken back before the object goes. Else the deletion would leave data
// planes on a revision that nobody looks after.
func DeleteUpgrade(in DeleteInput) Verdict {
	if Finished(in.Upgrade) || in.Upgrade.Status.To == nil {
		return Pass()
	}
	return noDataPlaneMoved(in)
}

func noDataPlaneMoved(in DeleteInput) Verdict {
	to := in.Upgrade.Status.To.Revision
	names := map[string]bool{}
	for _, w := range in.Inventory.Workloads {
		if w.Uses(to) || w.NextLabels()[v1alpha1.RevisionLabel] == to {
			names[w.Ref.String()] = true
		}
	}
	for _, p := range in.Inventory.LoosePods {
		if p.Revision == to {
			names[p.Namespace+"/Pod/"+p.Name] = true
		}
	}
	if len(names) == 0 {
		return Pass()
	}
	return Block(v1alpha1.ReasonInUse, "ClusterUpgrade %q cannot be deleted while %s on the new revision %q (%s): move back first with `meshlift rollout --back`, or finish the upgrade",
		in.Upgrade.Name, runs(len(names)), to, list(slices.Sorted(maps.Keys(names))))
}

func runs(n int) string {
	if n == 1 {
		return "1 data plane runs"
	}
	return count(n, "data plane") + " run"
}
