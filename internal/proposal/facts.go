package proposal

import (
	"time"

	"meshlift.dev/meshlift/internal/preflight"
)

// Facts begins the facts of a preflight with what the proposal knows; a survey of the cluster adds the rest.
func (p *Proposal) Facts(now time.Time) *preflight.Facts {
	_, installed := p.Inventory.Revision(p.To.Revision)
	return &preflight.Facts{
		Now: now, From: p.From, To: p.To, Installed: installed && p.To.Revision != p.From.Name, Verdict: p.Verdict, Inventory: p.Inventory,
		Kubernetes: p.Catalog.Supports(p.To.Version), Changes: p.Catalog.Between(p.From.Version, p.To.Version),
		Unknown: map[preflight.Source]string{},
	}
}
