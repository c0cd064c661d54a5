package view

import (
	"time"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/intent"
)

// EnvoyFilters lists the EnvoyFilters of the cluster with their acknowledgements.
func EnvoyFilters(u *v1alpha1.ClusterUpgrade) []EnvoyFilter {
	out := []EnvoyFilter{}
	for _, f := range u.Status.EnvoyFilters {
		e := EnvoyFilter{Namespace: f.Namespace, Name: f.Name, Hash: f.Hash, Owner: f.Owner, Verdict: f.Verdict, Why: f.Why}
		if a := intent.Acknowledgement(u, f.Namespace, f.Name, f.Hash); a != nil {
			e.Acknowledged, e.By, e.Note, e.At = true, a.By, a.Note, a.At.UTC().Format(time.RFC3339)
		}
		out = append(out, e)
	}
	return out
}

// EnvoyFiltersText shows the list, and what to do about it.
func EnvoyFiltersText(program string, u *v1alpha1.ClusterUpgrade, filters []EnvoyFilter, o Options) string {
	p := newPage(o)
	if len(filters) == 0 {
		p.line("", "There are no EnvoyFilters: the check is complete.")
		return p.String()
	}
	rows := [][]string{{"", "NAMESPACE", "NAME", "OWNER", "VERDICT", "HASH", "CHECKED BY", "AT", "NOTE"}}
	open := 0
	for _, f := range filters {
		glyph := o.Theme.Good("✓")
		if !f.Acknowledged {
			glyph = o.Theme.Warn("●")
			open++
		}
		rows = append(rows, []string{glyph, f.Namespace, f.Name, dash(f.Owner), o.Theme.verdict(f.Verdict, dash(f.Verdict)), f.Hash, dash(f.By), dash(f.At), dash(f.Note)})
	}
	p.table("", rows)
	for _, f := range filters {
		if !f.Acknowledged && f.Why != "" {
			p.line("  "+o.Theme.verdict(f.Verdict, verdictGlyph(f.Verdict))+" ", f.Namespace+"/"+f.Name+": "+f.Why)
		}
	}
	p.blank()
	if open == 0 {
		p.line("", "Every EnvoyFilter is acknowledged for "+Path(u)+".")
		return p.String()
	}
	verb := " have to be checked for "
	if open == 1 {
		verb = " has to be checked for "
	}
	p.line("", Count(open, "EnvoyFilter")+verb+Path(u)+".")
	renderNext(p, []Next{{"check each with its owner, then record it", program + " envoyfilters ack NAMESPACE/NAME --note \"...\""}})
	return p.String()
}
