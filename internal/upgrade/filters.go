package upgrade

import (
	"encoding/json"
	"fmt"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/envoyfilter"
	"meshlift.dev/meshlift/internal/mesh"
	"meshlift.dev/meshlift/internal/status"
)

// envoyFilters is step 3.
func (d *decision) envoyFilters() Step {
	acks := map[[2]string]v1alpha1.EnvoyFilterAcknowledgement{}
	for _, a := range d.in.Spec.EnvoyFilters {
		acks[[2]string{a.Namespace, a.Name}] = a
	}
	open, first, breaks := 0, "", 0
	for _, s := range d.judged() {
		if a, ok := acks[[2]string{s.Namespace, s.Name}]; ok && a.Hash == s.Hash {
			s.Acknowledged, s.By = true, a.By
		} else {
			open++
			if s.Verdict == string(envoyfilter.Breaks) {
				breaks++
			}
			if first == "" {
				first = s.Namespace + "/" + s.Name
			}
		}
		d.out.EnvoyFilters = append(d.out.EnvoyFilters, s)
	}
	switch {
	case len(d.inv.EnvoyFilters) == 0:
		return done("there are no EnvoyFilters")
	case open == 0:
		return done("all EnvoyFilters are acknowledged for %s", d.in.Snapshot.To.Version)
	}
	worst := ""
	if breaks > 0 {
		worst = fmt.Sprintf(" (%d of them will break)", breaks)
	}
	return unmet(v1alpha1.ReasonFilters, "%d of %d EnvoyFilters are not acknowledged for %s%s, the first is %s: adapt each with its owner, then run \"meshlift envoyfilters ack\"",
		open, len(d.inv.EnvoyFilters), d.in.Snapshot.To.Version, worst, first)
}

// maxWhy bounds the reasons in the status; "meshlift envoyfilters check" shows all.
const maxWhy = 500

// judged are the EnvoyFilters of the cluster with a verdict for the target. It depends on nothing but their content and the two versions, so while
// no content has changed the verdicts of the last look are taken.
func (d *decision) judged() []v1alpha1.EnvoyFilterStatus {
	before := d.in.Status.EnvoyFilters
	same := len(before) == len(d.inv.EnvoyFilters)
	var out []v1alpha1.EnvoyFilterStatus
	for n, f := range d.inv.EnvoyFilters {
		out = append(out, v1alpha1.EnvoyFilterStatus{Namespace: f.Namespace, Name: f.Name, Hash: f.Hash, Owner: f.Owner})
		same = same && before[n].Namespace == f.Namespace && before[n].Name == f.Name && before[n].Hash == f.Hash && before[n].Verdict != ""
	}
	if same {
		for n := range out {
			out[n].Verdict, out[n].Why = before[n].Verdict, before[n].Why
		}
		return out
	}
	for n, v := range envoyfilter.JudgeAll(specs(d.inv.EnvoyFilters), d.in.Snapshot.From.Version, d.in.Snapshot.To.Version) {
		out[n].Verdict, out[n].Why = string(v.Outcome), status.Clip(v.Explain(), maxWhy)
	}
	return out
}

// specs of the EnvoyFilters, decoded; one that is no object has no patches.
func specs(filters []mesh.EnvoyFilter) []map[string]any {
	out := make([]map[string]any, len(filters))
	for n, f := range filters {
		_ = json.Unmarshal([]byte(f.Spec), &out[n])
	}
	return out
}
