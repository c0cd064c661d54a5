package view

import (
	"slices"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// categories in the order in which they are shown.
var categories = [...]struct {
	category v1alpha1.BlockerCategory
	title    string
}{
	{v1alpha1.CategoryIngressGateway, "Ingress gateways"},
	{v1alpha1.CategoryEgressGateway, "Egress gateways"},
	{v1alpha1.CategoryGateway, "Gateways"},
	{v1alpha1.CategorySidecar, "Sidecars"},
	{v1alpha1.CategoryConnection, "Connections"},
	{v1alpha1.CategoryReference, "References"},
	{v1alpha1.CategoryUnknown, "Not known"},
}

// Remains is what keeps an old revision in use.
type Remains struct {
	Revision string `json:"revision"`
	// Blockers by category in the order in which people think of them.
	Blockers []v1alpha1.Blocker `json:"blockers"`
	// Omitted counts blockers that are not listed.
	Omitted int32 `json:"omitted,omitempty"`
}

// NewRemains takes the blockers from the status of the upgrade.
func NewRemains(u *v1alpha1.ClusterUpgrade) Remains {
	r := Remains{Omitted: u.Status.BlockersOmitted, Blockers: []v1alpha1.Blocker{}}
	if u.Status.From != nil {
		r.Revision = u.Status.From.Revision
	}
	for _, c := range categories {
		for _, b := range u.Status.Blockers {
			if b.Category == c.category {
				r.Blockers = append(r.Blockers, b)
			}
		}
	}
	return r
}

// Ending tells whether all that remains goes away by itself.
func (r Remains) Ending() bool {
	return r.Omitted == 0 && !slices.ContainsFunc(r.Blockers, func(b v1alpha1.Blocker) bool { return !b.Ending })
}

// Render lists exactly what remains.
func (r Remains) Render(o Options) string {
	p := newPage(o)
	total := len(r.Blockers) + int(r.Omitted)
	verb := " still use"
	if total == 1 {
		verb = " still uses"
	}
	p.linef("", "%s%s revision %s:", Count(total, "object"), verb, r.Revision)
	for _, c := range categories {
		group := slices.DeleteFunc(slices.Clone(r.Blockers), func(b v1alpha1.Blocker) bool { return b.Category != c.category })
		if len(group) == 0 {
			continue
		}
		p.blank()
		p.linef("", "%s (%d)", o.Theme.Bold(c.title), len(group))
		var rows [][]string
		for _, b := range group {
			name := b.Kind + "/" + b.Name
			if b.Namespace != "" {
				name = b.Namespace + "/" + name
			}
			rows = append(rows, []string{name, b.Message})
		}
		p.table("  ", rows)
	}
	if r.Omitted > 0 {
		p.blank()
		p.linef("", "and %d more", r.Omitted)
	}
	return p.String()
}
