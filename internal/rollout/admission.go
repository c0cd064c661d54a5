package rollout

import "meshlift.dev/meshlift/internal/mesh"

// Routed tells whether admission routes labelled pods to the revision: every webhook of the old revision leaves them
// out, and each has its twin. Until then no label may be set, for a pod that restarts would stay where it is.
func Routed(inv *mesh.Inventory, from, to string) bool {
	found := false
	for _, c := range inv.Configurations {
		entries, twins := 0, 0
		for _, w := range c.Webhooks {
			switch {
			case w.Handover && w.Revision == to:
				twins++
			case w.Revision == from && w.Excluded != to:
				return false
			case w.Revision == from:
				entries++
			}
		}
		if twins != entries {
			return false
		}
		found = found || entries > 0
	}
	return found
}
