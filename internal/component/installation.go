package component

import (
	"fmt"
	"slices"
	"strings"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
)

// installation is one place where a component is installed.
type installation struct {
	// by says how, for the eye.
	by string
	// running is the version that is shown; at and target are compared.
	running, at, target string
	helm                *Helm
	sub                 *Subscription
}

// installations finds a component; problem is why it cannot be found out.
func (d *decision) installations(c v1alpha1.Component) (found []installation, problem string) {
	if c.Helm != nil {
		problem = d.in.HelmProblem
		for n := range d.in.Helm {
			if h := &d.in.Helm[n]; h.Last.Chart == c.Helm.Chart && h.Last.Status != "uninstalled" && h.Last.Status != "uninstalling" {
				found = append(found, helmInstallation(c, h))
			}
		}
	}
	if c.OLM != nil {
		if problem == "" {
			problem = d.in.OLMProblem
		}
		for n := range d.in.Subscriptions {
			if s := &d.in.Subscriptions[n]; s.Package == c.OLM.Package {
				found = append(found, olmInstallation(c, s))
			}
		}
	}
	slices.SortStableFunc(found, func(a, b installation) int { return strings.Compare(a.by, b.by) })
	return found, problem
}

func helmInstallation(c v1alpha1.Component, h *Helm) installation {
	r := h.Deployed
	if r == nil {
		r = &h.Last
	}
	out := installation{by: "Helm release " + r.Name + " in " + r.Namespace, running: r.ChartVersion, at: r.ChartVersion, target: chartVersion(c), helm: h}
	if c.Helm.ChartVersion != "" && c.Helm.ChartVersion != c.Version && r.AppVersion != "" {
		out.running = r.AppVersion // the versions of chart and component differ
	}
	return out
}

func chartVersion(c v1alpha1.Component) string {
	if c.Helm.ChartVersion != "" {
		return c.Helm.ChartVersion
	}
	return c.Version
}

func olmInstallation(c v1alpha1.Component, s *Subscription) installation {
	v := CSVVersion(s.Installed)
	out := installation{by: "OLM subscription " + s.Name + " in " + s.Namespace, running: v, at: v, target: c.Version, sub: s}
	if out.target == "" {
		out.target = CSVVersion(s.Current)
	}
	return out
}

// oldest is the installation with the oldest version; ones that cannot be compared come first.
func oldest(list []installation) installation {
	return slices.MinFunc(list, func(a, b installation) int {
		c, err := compare(a.at, b.at)
		if err != nil {
			return strings.Compare(a.at, b.at)
		}
		return c
	})
}

// component makes one row.
func (d *decision) component(c v1alpha1.Component) hub.ComponentStatus {
	row := hub.ComponentStatus{Name: c.Name, Title: c.Title, Offered: c.Version, BeforeIstio: !c.AfterIstio}
	found, problem := d.installations(c)
	if problem != "" {
		return d.unknown(row, problem)
	}
	req, prev := d.request(c.Name), d.before(c.Name)
	if req != nil {
		row.RequestedAt = req.At.DeepCopy()
	}
	if len(found) == 0 {
		row.Phase = hub.ComponentNotInstalled
		if req != nil {
			row.Message = "it was asked for and is not installed in this cluster: install it as you install other software, then ask again"
		}
		return row
	}
	var by []string
	for _, i := range found {
		by = append(by, i.by)
		if row.Offered == "" || c.Version == "" && Older(row.Offered, i.target) {
			row.Offered = i.target
		}
	}
	row.InstalledBy = strings.Join(by, ", ")
	row.Running = oldest(found).running
	var behind []installation
	for _, i := range found {
		if i.helm != nil && i.helm.Deployed == nil {
			row.Phase, row.Message = hub.ComponentUnknown, fmt.Sprintf("%s is %s and was never deployed: finish its installation, or uninstall it", i.by, i.helm.Last.Status)
			return row
		}
		if i.at == "" {
			row.Phase, row.Message = hub.ComponentUnknown, i.by+" has not installed anything yet"
			return row
		}
		if i.target == "" {
			continue // nothing is offered
		}
		order, err := compare(i.at, i.target)
		if err != nil {
			row.Phase, row.Message = hub.ComponentUnknown, i.by+": "+err.Error()
			return row
		}
		if order < 0 {
			behind = append(behind, i)
		}
	}
	d.judge(&row, c, found, behind, req, prev)
	return row
}

// unknown keeps what was known. A failure and a request that is under way stay what they are.
func (d *decision) unknown(row hub.ComponentStatus, problem string) hub.ComponentStatus {
	prev := d.before(row.Name)
	if prev.Phase == hub.ComponentFailed || prev.Phase == hub.ComponentUpgrading {
		return prev
	}
	row.Running, row.InstalledBy, row.RequestedAt = prev.Running, prev.InstalledBy, prev.RequestedAt
	if row.Offered == "" {
		row.Offered = prev.Offered
	}
	row.Phase, row.Message = hub.ComponentUnknown, problem
	return row
}
