package view

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
)

// MeshesText lists meshes, one in a row.
func MeshesText(all []hub.Mesh, o Options) string {
	p := newPage(o)
	if len(all) == 0 {
		p.line("", "There are no meshes.")
		return p.String()
	}
	rows := [][]string{{"NAME", "CLUSTERS", "CONNECTED", "ISTIO", "FROZEN", "STATUS"}}
	for _, m := range all {
		frozen := "no"
		if meta.IsStatusConditionTrue(m.Status.Conditions, hub.ConditionFrozen) {
			frozen = "yes"
		}
		rows = append(rows, []string{m.Name, fmt.Sprint(m.Status.Clusters), fmt.Sprint(m.Status.Connected), dash(m.Status.IstioVersions), frozen, dash(ConditionMessage(m.Status.Conditions, hub.ConditionReady))})
	}
	p.table("", rows)
	return p.String()
}

// Mesh is everything about one mesh on one page.
type Mesh struct {
	Mesh     *hub.Mesh           `json:"mesh"`
	Clusters []hub.MemberCluster `json:"clusters"`
	// Upgrade that runs, else the newest one.
	Upgrade *hub.MeshUpgrade `json:"upgrade,omitempty"`
}

// Render shows the page.
func (m Mesh) Render(program string, o Options) string {
	p := newPage(o)
	st := m.Mesh.Status
	p.table("", [][]string{{"Mesh", m.Mesh.Name}, {"Istio", dash(st.IstioVersions)}, {"Status", dash(ConditionMessage(st.Conditions, hub.ConditionReady))}})
	for _, kind := range []string{hub.ConditionFrozen, hub.ConditionSidecarsConfigured} {
		c := meta.FindStatusCondition(st.Conditions, kind)
		if c != nil && (kind == hub.ConditionFrozen) == (c.Status == metav1.ConditionTrue) {
			p.line(o.Theme.Warn("! "), c.Message)
		}
	}
	p.blank()
	if len(m.Clusters) == 0 {
		p.line("", "The mesh has no clusters: add one with "+program+" cluster add")
	} else {
		rows := [][]string{{"CLUSTER", "CONNECTED", "KUBERNETES", "ISTIO", "UPGRADE TO", "STEP", "STATUS"}}
		for _, c := range m.Clusters {
			rows = append(rows, clusterRow(c))
		}
		p.table("", rows)
	}
	if st.Turn != nil {
		p.blank()
		p.linef("", "Cluster %s may decommission its old istiod now.", st.Turn.Cluster)
	}
	if m.Upgrade != nil {
		p.blank()
		meshUpgrade(p, m.Upgrade)
	}
	if n := len(st.History); n > 0 {
		p.blank()
		p.heading("History")
		for _, h := range st.History[max(0, n-5):] {
			p.line("  ", h.At.UTC().Format("2006-01-02 15:04:05")+"  "+h.Message)
		}
	}
	return p.String()
}

func clusterRow(c hub.MemberCluster) []string {
	connected := "unknown"
	if s := meta.FindStatusCondition(c.Status.Conditions, hub.ConditionConnected); s != nil && s.Status == metav1.ConditionTrue {
		connected = "yes"
	} else if s != nil && s.Status == metav1.ConditionFalse {
		connected = "no"
	}
	step := ""
	if c.Status.Upgrade != nil {
		step = c.Status.Upgrade.Step
	}
	return []string{
		c.Name, connected, dash(strings.TrimPrefix(c.Status.KubernetesVersion, "v")), dash(c.Status.IstioVersions), dash(strings.Join(Offered(&c), ", ")), dash(step),
		dash(ConditionMessage(c.Status.Conditions, hub.ConditionReady)),
	}
}

// Offered are the Istio minor versions to which a cluster can be upgraded; never nil.
func Offered(c *hub.MemberCluster) []string {
	out := []string{}
	for _, r := range c.Status.Revisions {
		for _, v := range r.UpgradeTo {
			if !slices.Contains(out, v) {
				out = append(out, v)
			}
		}
	}
	return out
}

func meshUpgrade(p *page, u *hub.MeshUpgrade) {
	title := fmt.Sprintf("%s %s to Istio %s: %d of %d clusters have moved", p.Theme.Bold("Upgrade"), u.Name, u.Spec.Version, u.Status.Moved, u.Status.Total)
	if u.Spec.Paused {
		title += " " + p.Theme.Warn("(paused)")
	}
	p.line("", title)
	if text := ConditionMessage(u.Status.Conditions, hub.ConditionReady); text != "" {
		p.line("  ", text)
	}
	if len(u.Status.Clusters) == 0 {
		return
	}
	rows := [][]string{{"WAVE", "CLUSTER", "STEP", "MOVED", "STATUS"}}
	for _, c := range u.Status.Clusters {
		message := dash(c.Message)
		if c.Failed {
			message = p.Theme.Bad("✗ ") + message
		}
		rows = append(rows, []string{c.Wave, c.Name, c.Step, fmt.Sprintf("%d/%d", c.Moved, c.Total), message})
	}
	p.table("  ", rows)
}

// ConditionMessage is the sentence of a condition; "" when there is none.
func ConditionMessage(conditions []metav1.Condition, kind string) string {
	if c := meta.FindStatusCondition(conditions, kind); c != nil {
		return c.Message
	}
	return ""
}

// CurrentMesh is the upgrade of a mesh that runs, else the newest one; nil when there is none.
func CurrentMesh(all []hub.MeshUpgrade, mesh string) *hub.MeshUpgrade {
	var out *hub.MeshUpgrade
	for n := range all {
		u := &all[n]
		if u.Spec.Mesh != mesh {
			continue
		}
		if out == nil || FinishedMesh(out) && (!FinishedMesh(u) || out.CreationTimestamp.Before(&u.CreationTimestamp)) {
			out = u
		}
	}
	return out
}

// FinishedMesh tells whether the old istiod of every cluster is gone.
func FinishedMesh(u *hub.MeshUpgrade) bool {
	return meta.IsStatusConditionTrue(u.Status.Conditions, hub.ConditionDecommissioned)
}
