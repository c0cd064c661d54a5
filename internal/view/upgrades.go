package view

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/duration"

	"meshlift.dev/meshlift/api/v1alpha1"
)

// UpgradesText lists upgrades, one in a row.
func UpgradesText(all []v1alpha1.ClusterUpgrade, now time.Time, o Options) string {
	p := newPage(o)
	if len(all) == 0 {
		p.line("", "There are no upgrades.")
		return p.String()
	}
	rows := [][]string{{"NAME", "FROM", "TO", "STEP", "MOVED", "AGE", "STATUS"}}
	for n := range all {
		u := &all[n]
		from, to, message := "-", u.Spec.Version, ""
		if u.Status.From != nil {
			from = u.Status.From.Version
		}
		if u.Status.To != nil {
			to = u.Status.To.Version
		}
		if c := meta.FindStatusCondition(u.Status.Conditions, v1alpha1.ConditionReady); c != nil {
			message = c.Message
		}
		d := u.Status.DataPlanes
		rows = append(rows, []string{
			u.Name, from, to, dash(u.Status.Step), fmt.Sprintf("%d/%d", d.Moved, d.Total), duration.HumanDuration(now.Sub(u.CreationTimestamp.Time)), dash(message),
		})
	}
	p.table("", rows)
	return p.String()
}

// UpgradeText shows one upgrade with everything that its status tells.
func UpgradeText(program string, u *v1alpha1.ClusterUpgrade, r *v1alpha1.DataPlaneRollout, o Options) string {
	p := newPage(o)
	upgradeOf(u).render(p)
	if v := u.Status.Values; v != nil {
		for _, part := range []struct {
			title string
			list  []string
		}{{"Helm values carried over", v.Carried}, {"Helm values changed on the way", v.Changed}, {"Helm values not carried over", v.NotCarried}} {
			if len(part.list) > 0 {
				p.blank()
				p.heading(part.title)
				p.line("  ", strings.Join(part.list, "\n"))
			}
		}
	}
	if len(u.Status.History) > 0 {
		p.blank()
		p.heading("History")
		for _, h := range u.Status.History {
			p.line("  "+h.At.UTC().Format(time.DateTime)+"Z  ", h.Message)
		}
	}
	p.blank()
	renderNext(p, NextSteps(program, nil, u, r))
	return p.String()
}

// Confirmation is what is asked before an upgrade starts.
type Confirmation struct {
	From, FromVersion, To, ToVersion, Kubernetes string
	// Filters is the number of EnvoyFilters that will have to be acknowledged.
	Filters int
}

// Render shows the path, what it needs, what happens and what does not.
func (c Confirmation) Render(o Options) string {
	p := newPage(o)
	p.linef("", "%s Istio %s (revision %s) → %s (revision %s)", o.Theme.Bold("Upgrade path"), c.FromVersion, c.From, c.ToVersion, c.To)
	p.linef("  Kubernetes    ", "%s, supported by this path", strings.TrimPrefix(c.Kubernetes, "v"))
	p.linef("  Now           ", "istiod %s is installed as revision %s beside %s, with the Helm values of %s", c.ToVersion, c.To, c.From, c.From)
	p.line("  Not touched   ", "everything that runs: no pod restarts, no traffic moves, no label changes")
	later := "data planes move when you say so, then the old istiod is removed when you say so"
	if c.Filters > 0 {
		later = Count(c.Filters, "EnvoyFilter") + " to check with their owners; " + later
	}
	p.line("  Later         ", later)
	p.line("  Way back      ", "until the first data plane has moved, deleting the upgrade removes the new istiod again")
	return p.String()
}

// RolloutsText lists rollouts, one in a row.
func RolloutsText(all []v1alpha1.DataPlaneRollout, now time.Time, o Options) string {
	p := newPage(o)
	if len(all) == 0 {
		p.line("", "There are no rollouts.")
		return p.String()
	}
	rows := [][]string{{"NAME", "UPGRADE", "DIRECTION", "STATE", "AGE", "PROGRESS"}}
	for n := range all {
		r := &all[n]
		state := "running"
		switch {
		case Complete(r) && r.Spec.Stopped:
			state = "stopped"
		case Complete(r):
			state = "complete"
		case Waits(r):
			state = "waits for you"
		case r.Spec.Paused:
			state = "paused"
		}
		rows = append(rows, []string{
			r.Name, r.Spec.Upgrade, string(r.Spec.Direction), state, duration.HumanDuration(now.Sub(r.CreationTimestamp.Time)), dash(r.Status.Progress),
		})
	}
	p.table("", rows)
	return p.String()
}
