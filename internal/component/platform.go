package component

import (
	"fmt"
	"slices"
	"strings"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/internal/version"
)

// istio is the row of Istio, which is upgraded by a ClusterUpgrade and not here.
func (d *decision) istio() hub.ComponentStatus {
	m := d.in.Mesh
	row := hub.ComponentStatus{Name: Istio, Title: "Istio", Running: strings.Join(m.Versions, ", "), Phase: hub.ComponentCurrent}
	switch {
	case m.Problem != "":
		return d.unknown(row, m.Problem)
	case !m.Installed:
		row.Phase, row.Message = hub.ComponentUnknown, "the agent does not report from this cluster: install it with `meshlift cluster add`"
		return row
	case len(m.Versions) == 0:
		row.Phase = hub.ComponentNotInstalled
		return row
	}
	newest := m.Versions[0]
	for _, v := range m.Versions {
		if Older(newest, v) {
			newest = v
		}
	}
	row.Offered = newest
	if targets := d.in.Catalog.Targets(newest, d.in.Kubernetes); len(targets) > 0 {
		row.Phase, row.Offered = hub.ComponentUpgradeable, targets[len(targets)-1]
		if full, refused := d.in.Catalog.Resolve(row.Offered); refused == nil {
			row.Offered = full
		}
	}
	if m.Upgrade != "" {
		row.Phase, row.Message = hub.ComponentUpgrading, fmt.Sprintf("ClusterUpgrade %q is under way", m.Upgrade)
	}
	return row
}

// kubernetes is the row of Kubernetes: offered is the newest minor version that all istiods of the cluster support.
func (d *decision) kubernetes() hub.ComponentStatus {
	row := hub.ComponentStatus{Name: Kubernetes, Title: "Kubernetes", Running: strings.TrimPrefix(d.in.Kubernetes, "v"), Phase: hub.ComponentCurrent}
	now, err := version.ParseMinor(d.in.Kubernetes)
	if err != nil {
		return d.unknown(row, "the version of Kubernetes is not known")
	}
	row.Offered = row.Running
	newest := now
	for _, r := range d.in.Catalog.Releases {
		for _, k := range r.Kubernetes {
			if m, err := version.ParseMinor(k); err == nil && m.Compare(newest) > 0 && d.supported(k) {
				newest, row.Offered, row.Phase = m, k, hub.ComponentUpgradeable
			}
		}
	}
	if row.Phase == hub.ComponentUpgradeable {
		row.Message = "Kubernetes is upgraded by your platform; every istiod of this cluster supports " + row.Offered
	}
	return row
}

// supported tells whether every istiod runs on a version of Kubernetes.
func (d *decision) supported(kubernetes string) bool {
	for _, v := range d.in.Mesh.Versions {
		m, err := version.ParseMinor(v)
		if err != nil {
			return false
		}
		ok := false
		for _, r := range d.in.Catalog.Releases {
			ok = ok || r.Version == m.String() && slices.Contains(r.Kubernetes, kubernetes)
		}
		if !ok {
			return false
		}
	}
	return len(d.in.Mesh.Versions) > 0
}
