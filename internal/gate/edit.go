package gate

import (
	"slices"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// MoveIstioNamespace says whether the ControlPlane may look at another namespace.
func MoveIstioNamespace(before, after string, upgrades []v1alpha1.ClusterUpgrade) Verdict {
	if before == after {
		return Pass()
	}
	if u := Unfinished(upgrades, ""); u != nil {
		return Block(v1alpha1.ReasonAnotherUpgrade, "istioNamespace cannot change from %q to %q while ClusterUpgrade %q is not finished: finish or delete it first", before, after, u.Name)
	}
	return Pass()
}

// Acknowledgements says whether the acknowledgements of EnvoyFilters that were added or changed name what was checked.
func Acknowledgements(before, after []v1alpha1.EnvoyFilterAcknowledgement) Verdict {
	for _, a := range after {
		if slices.Contains(before, a) {
			continue
		}
		switch {
		case a.Hash == "":
			return Block(v1alpha1.ReasonUserAction, "the acknowledgement of EnvoyFilter %s/%s does not name the hash of the spec that was checked: copy it from status.envoyFilters, or use `meshlift envoyfilters ack`", a.Namespace, a.Name)
		case a.By == "":
			return Block(v1alpha1.ReasonUserAction, "the acknowledgement of EnvoyFilter %s/%s does not say who checked it: fill in \"by\", or use `meshlift envoyfilters ack`", a.Namespace, a.Name)
		}
	}
	return Pass()
}

// Stale returns a sentence for each acknowledgement whose EnvoyFilter was changed since: they do no harm, and they do
// not count.
func Stale(u *v1alpha1.ClusterUpgrade) []string {
	var out []string
	for _, a := range u.Spec.EnvoyFilters {
		n := slices.IndexFunc(u.Status.EnvoyFilters, func(f v1alpha1.EnvoyFilterStatus) bool { return f.Namespace == a.Namespace && f.Name == a.Name })
		if n >= 0 && u.Status.EnvoyFilters[n].Hash != a.Hash {
			out = append(out, "the acknowledgement of EnvoyFilter "+a.Namespace+"/"+a.Name+" does not count: its spec has hash "+u.Status.EnvoyFilters[n].Hash+" now, not "+a.Hash)
		}
	}
	return out
}
