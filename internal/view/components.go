package view

import (
	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
)

// Component is one row of `meshlift components`.
type Component struct {
	// Cluster in the hub.
	Cluster string `json:"cluster"`
	hub.ComponentStatus
}

// Components lists the components of clusters.
func Components(clusters []hub.MemberCluster) []Component {
	out := []Component{}
	for n := range clusters {
		for _, c := range clusters[n].Status.Components {
			out = append(out, Component{clusters[n].Name, c})
		}
	}
	return out
}

// ComponentGlyph shows the phase of a component.
func ComponentGlyph(t Theme, phase hub.ComponentPhase) string {
	switch phase {
	case hub.ComponentCurrent:
		return t.Good("✓")
	case hub.ComponentUpgradeable:
		return t.Warn("●")
	case hub.ComponentUpgrading:
		return t.Busy("…")
	case hub.ComponentFailed:
		return t.Bad("✗")
	case hub.ComponentUnknown:
		return t.Bad("?")
	}
	return t.Dim("-")
}

// ComponentsText shows the list, and what to do about it.
func ComponentsText(program string, rows []Component, o Options) string {
	p := newPage(o)
	if len(rows) == 0 {
		p.line("", "No cluster has reported its components yet.")
		return p.String()
	}
	table := [][]string{{"", "CLUSTER", "COMPONENT", "RUNNING", "OFFERED", "STATUS", "INSTALLED BY", "NOTE"}}
	var next []Next
	seen := map[string]bool{}
	for _, r := range rows {
		offered := r.Offered
		if r.Phase == hub.ComponentCurrent && r.Offered == r.Running {
			offered = ""
		}
		table = append(table, []string{
			ComponentGlyph(o.Theme, r.Phase), r.Cluster, r.Name, dash(r.Running), dash(offered), string(r.Phase), dash(r.InstalledBy), dash(r.Message),
		})
		if r.BeforeIstio && r.Phase == hub.ComponentUpgradeable && !seen[r.Cluster] {
			seen[r.Cluster] = true
			next = append(next, Next{"upgrade what comes before Istio in cluster " + r.Cluster, program + " components upgrade --all --cluster " + r.Cluster})
		}
	}
	p.table("", table)
	if len(next) > 0 {
		p.blank()
		renderNext(p, next)
	}
	return p.String()
}
