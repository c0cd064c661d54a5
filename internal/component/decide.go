package component

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	hub "meshlift.dev/meshlift/api/hub/v1alpha1"
	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/release"
)

// Words of Helm (https://helm.sh/docs/helm/helm_status/).
const (
	deployed        = "deployed"
	failed          = "failed"
	pendingRollback = "pending-rollback"
)

// kept ends every sentence about a failure.
const kept = "; the old version is kept, ask again to try again"

// judge sets the phase of a row and what to do.
func (d *decision) judge(row *hub.ComponentStatus, c v1alpha1.Component, found, behind []installation, req *hub.ComponentRequest, prev hub.ComponentStatus) {
	answered := req != nil && prev.RequestedAt != nil && prev.RequestedAt.Unix() == req.At.Unix()
	if answered && prev.Phase == hub.ComponentFailed && d.undo(row, c, found, behind, req, prev) {
		return
	}
	if len(behind) == 0 {
		row.Phase = hub.ComponentCurrent
		if req != nil && (!answered || prev.Phase != hub.ComponentCurrent) {
			d.verify(row, c, found, req)
		}
		return
	}
	row.Phase = hub.ComponentUpgradeable
	if req == nil {
		row.Message = automatic(behind)
		return
	}
	if order, err := compare(req.Version, row.Offered); err != nil || order != 0 {
		row.Message = fmt.Sprintf("version %s was asked for by %s, and %s is offered now: ask for that one", req.Version, req.By, row.Offered)
		return
	}
	row.Phase = hub.ComponentUpgrading
	trouble := d.in.Trouble[c.Name]
	if trouble != "" && d.in.Now.Sub(req.At.Time) > Patience {
		fail(row, "%s", trouble)
		return
	}
	if i := behind[0]; i.helm != nil {
		d.upgradeHelm(row, c, i, req)
	} else {
		d.upgradeOLM(row, c, i, req)
	}
	if trouble != "" && row.Phase == hub.ComponentUpgrading {
		row.Message = "it is tried again: " + trouble
	}
}

func fail(row *hub.ComponentStatus, format string, args ...any) {
	row.Phase, row.Message = hub.ComponentFailed, oneLine(fmt.Sprintf(format, args...))+kept
}

// automatic says that OLM will do it without being asked.
func automatic(behind []installation) string {
	for _, i := range behind {
		if i.sub != nil && !i.sub.Manual {
			return "OLM upgrades it by itself, because " + i.by + " approves install plans automatically"
		}
	}
	return ""
}

// undo keeps a failure, and rolls back what the request has made. It is false when somebody else has mended it meanwhile.
func (d *decision) undo(row *hub.ComponentStatus, c v1alpha1.Component, found, behind []installation, req *hub.ComponentRequest, prev hub.ComponentStatus) bool {
	undone := true
	for _, i := range found {
		if i.helm != nil && halfway(i.helm, req) {
			undone = false
			d.out.Actions = append(d.out.Actions, Action{
				Kind: RollBack, Component: c.Name, Release: release.Spec{Name: i.helm.Last.Name, Namespace: i.helm.Last.Namespace},
			})
		}
	}
	if undone && len(behind) == 0 {
		return false
	}
	row.Phase, row.Message = hub.ComponentFailed, prev.Message
	if trouble := d.in.Trouble[c.Name]; trouble != "" && !undone && !strings.Contains(row.Message, trouble) {
		row.Message = oneLine(row.Message + "; " + trouble)
	}
	return true
}

// halfway tells whether a failed request has left something that is to be rolled back.
func halfway(h *Helm, req *hub.ComponentRequest) bool {
	begun := strings.HasPrefix(h.Last.Description, "Rollback") || strings.HasPrefix(h.Last.Description, release.TakenOver)
	return ours(h, req) || h.Last.Status == pendingRollback || h.Last.Status == failed && begun
}

// ours tells whether the request made the newest revision of the release.
func ours(h *Helm, req *hub.ComponentRequest) bool {
	return h.Last.Labels[RequestLabel] == Stamp(req.At)
}

// verify looks whether what the request has installed has become ready.
func (d *decision) verify(row *hub.ComponentStatus, c v1alpha1.Component, found []installation, req *hub.ComponentRequest) {
	for _, i := range found {
		if i.helm == nil || !ours(i.helm, req) || i.helm.Last.Status != deployed {
			continue
		}
		h, took := i.helm.Health, d.in.Now.Sub(i.helm.Last.Updated)
		switch {
		case h != nil && h.Ready:
			continue
		case h != nil && h.Failed:
			fail(row, "version %s of %s did not become ready: %s", i.helm.Last.ChartVersion, i.by, h.Message)
		case took > d.in.ReadyWithin && h != nil:
			fail(row, "version %s of %s did not become ready within %s: %s", i.helm.Last.ChartVersion, i.by, d.in.ReadyWithin, h.Message)
		default:
			row.Phase, row.Message = hub.ComponentUpgrading, i.by+" is at version "+i.helm.Last.ChartVersion+", its pods become ready"
			if h != nil && h.Message != "" {
				row.Message = i.by + " is at version " + i.helm.Last.ChartVersion + ": " + h.Message
			}
		}
		return
	}
}

// upgradeHelm brings a release to the chart that is offered, with the values that it has.
func (d *decision) upgradeHelm(row *hub.ComponentStatus, c v1alpha1.Component, i installation, req *hub.ComponentRequest) {
	last := i.helm.Last
	if ours(i.helm, req) && last.Status == failed && !strings.HasPrefix(last.Description, release.TakenOver) {
		fail(row, "%s could not be upgraded to chart version %s: %s", i.by, i.target, last.Description)
		return
	}
	base := last
	if i.helm.Deployed != nil {
		base = *i.helm.Deployed
	}
	row.Message = fmt.Sprintf("%s goes from chart version %s to %s", i.by, i.at, i.target)
	d.out.Actions = append(d.out.Actions, Action{Kind: Upgrade, Component: c.Name, Release: release.Spec{
		Name: last.Name, Namespace: last.Namespace, Source: d.source(c, i.target), Values: values(c, base),
		Labels: map[string]string{RequestLabel: Stamp(req.At)},
	}})
}

// source is where the chart comes from.
func (d *decision) source(c v1alpha1.Component, version string) release.Source {
	s := release.Source{Repository: c.Helm.Repository, Name: c.Helm.Chart, Version: version}
	switch {
	case s.Repository != "":
	case c.Helm.Chart == AgentChart:
		s.Repository = release.BuiltIn
	default:
		s.Repository = d.in.Catalog.ChartRepository
	}
	return s
}

// values are those of the release. The agent's image tag goes when it only says what the old chart says by itself: with it the
// new chart would run the old agent.
func values(c v1alpha1.Component, r release.Release) map[string]any {
	image, _ := r.Values["image"].(map[string]any)
	if tag, ok := image["tag"].(string); c.Helm.Chart != AgentChart || !ok || strings.TrimPrefix(tag, "v") != strings.TrimPrefix(r.AppVersion, "v") {
		return r.Values
	}
	out, image := maps.Clone(r.Values), maps.Clone(image)
	delete(image, "tag")
	out["image"] = image
	return out
}

// upgradeOLM lets OLM go on to the version that is offered.
func (d *decision) upgradeOLM(row *hub.ComponentStatus, c v1alpha1.Component, i installation, req *hub.ComponentRequest) {
	s, late := i.sub, d.in.Now.Sub(req.At.Time) > Patience
	if c.OLM.Channel != "" && s.Channel != c.OLM.Channel {
		row.Message = fmt.Sprintf("%s changes from channel %q to %q", i.by, s.Channel, c.OLM.Channel)
		d.out.Actions = append(d.out.Actions, Action{Kind: SetChannel, Component: c.Name, Namespace: s.Namespace, Name: s.Name, Channel: c.OLM.Channel})
		return
	}
	next := CSVVersion(s.Current)
	switch {
	case s.CurrentPhase == "Failed" && s.Current != s.Installed:
		fail(row, "OLM could not install %s: %s", s.Current, s.CurrentMessage)
	case Older(i.target, next):
		fail(row, "OLM offers version %s in channel %q, not %s: name that version in the Catalog, or take it out of it", next, s.Channel, i.target)
	case !Older(i.at, next) && late:
		fail(row, "OLM offers no version newer than %s in channel %q, and %s was asked for", i.at, s.Channel, i.target)
	case s.Plan == nil && late:
		fail(row, "OLM has made no install plan for %s", s.Current)
	case !Older(i.at, next) || s.Plan == nil || !slices.Contains(s.Plan.New, s.Current) && !s.Plan.Approved:
		row.Message = i.by + " waits for OLM to make an install plan"
	case s.Plan.Phase == "Failed":
		fail(row, "OLM could not carry out InstallPlan %s: %s", s.Plan.Name, s.Plan.Message)
	case s.Plan.Approved:
		row.Message = "OLM installs " + s.Current
	default:
		if foreign := d.foreign(s); len(foreign) > 0 {
			fail(row, "InstallPlan %s/%s would also install %s, which nobody asked for: approve it yourself, or ask for all of them", s.Namespace, s.Plan.Name, strings.Join(foreign, ", "))
			return
		}
		row.Message = fmt.Sprintf("InstallPlan %s/%s of %s is approved", s.Namespace, s.Plan.Name, s.Current)
		d.out.Actions = append(d.out.Actions, Action{Kind: Approve, Component: c.Name, Namespace: s.Namespace, Name: s.Plan.Name, CSV: s.Current})
	}
}

// foreign are the other versions that the install plan of a subscription brings, and that nobody asked for: OLM makes one plan for all
// subscriptions of a namespace.
func (d *decision) foreign(s *Subscription) []string {
	var out []string
	for _, name := range s.Plan.New {
		asked := name == s.Current
		for n := range d.in.Subscriptions {
			o := &d.in.Subscriptions[n]
			asked = asked || o.Namespace == s.Namespace && o.Current == name && d.asked(o.Package)
		}
		if !asked {
			out = append(out, name)
		}
	}
	return out
}

// asked tells whether somebody asked for the component of a package.
func (d *decision) asked(pkg string) bool {
	for _, c := range d.in.Catalog.Components {
		if c.OLM != nil && c.OLM.Package == pkg && d.request(c.Name) != nil {
			return true
		}
	}
	return false
}
