package proposal

import (
	"slices"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/intent"
	"meshlift.dev/meshlift/internal/rollout"
	"meshlift.dev/meshlift/internal/view"
)

// Plan says what the upgrade would do to the data planes of the namespaces; none means all.
func (p *Proposal) Plan(namespaces ...string) view.Plan {
	out := view.Plan{
		From: p.From.Name, FromVersion: p.From.Version, To: p.To.Revision, ToVersion: p.To.Version,
		Kubernetes: p.Inventory.KubernetesVersion, Supported: p.Verdict.Passed(), Refusal: p.Verdict.Message,
		EnvoyFilters: []view.EnvoyFilter{},
	}
	items := rollout.Plan(p.Inventory, p.From.Name, p.To.Revision, v1alpha1.Forward)
	if len(namespaces) > 0 {
		items = slices.DeleteFunc(items, func(i rollout.Item) bool { return !slices.Contains(namespaces, i.Ref.Namespace) })
	}
	out.Groups = view.Groups(items)
	spec := &v1alpha1.DataPlaneRolloutSpec{Direction: v1alpha1.Forward}
	for _, ns := range namespaces {
		spec.Targets = append(spec.Targets, v1alpha1.RolloutTarget{Namespace: ns})
	}
	out.Forecast = rollout.Foresee(spec, p.Inventory, p.From.Name, p.To.Revision).API()
	for _, f := range p.Inventory.EnvoyFilters {
		if intent.Acknowledgement(p.Upgrade, f.Namespace, f.Name, f.Hash) == nil {
			out.EnvoyFilters = append(out.EnvoyFilters, view.EnvoyFilter{Namespace: f.Namespace, Name: f.Name, Hash: f.Hash, Owner: f.Owner})
		}
	}
	out.Explain()
	return out
}
