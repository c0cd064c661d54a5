package view

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/preflight"
	"meshlift.dev/meshlift/internal/rollout"
)

// DataPlane is one workload of a plan.
type DataPlane struct {
	Namespace string `json:"namespace"`
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Role      string `json:"role"`
	State     string `json:"state"`
	Message   string `json:"message,omitempty"`
	Pods      int32  `json:"pods"`
	MovedPods int32  `json:"movedPods"`
	// Warnings that are known beforehand.
	Warnings []string `json:"warnings,omitempty"`
	// OnRequest is true when only a rollout that names it by kind and name touches it.
	OnRequest bool `json:"onRequest,omitempty"`
}

// Requested is the data plane once a user has named it.
func (d DataPlane) Requested() DataPlane {
	if d.State == string(rollout.Unsupported) {
		d.State, d.Message, d.Warnings = string(rollout.Pending), "", append(slices.Clone(d.Warnings), d.Message)
	}
	return d
}

// String is "namespace/kind/name".
func (d DataPlane) String() string { return d.Namespace + "/" + d.Kind + "/" + d.Name }

// Movable tells whether a rollout would move it.
func (d DataPlane) Movable() bool {
	return d.State == string(rollout.Pending) || d.State == string(rollout.Moving) || d.State == string(rollout.Failed)
}

// Gateway tells whether it is a gateway of any kind.
func (d DataPlane) Gateway() bool { return d.Role != "Sidecar" }

// Group is one namespace of a plan.
type Group struct {
	Namespace string `json:"namespace"`
	// DataPlanes of the namespace, gateways first.
	DataPlanes []DataPlane `json:"dataPlanes"`
}

// Count counts the data planes for which ok holds, and their pods.
func (g Group) Count(ok func(DataPlane) bool) (n int, pods int32) {
	for _, d := range g.DataPlanes {
		if ok(d) {
			n++
			pods += d.Pods
		}
	}
	return n, pods
}

// Groups arranges a plan by namespace, gateways first within a namespace.
func Groups(items []rollout.Item) []Group {
	var out []Group
	for _, i := range items {
		n := slices.IndexFunc(out, func(g Group) bool { return g.Namespace == i.Ref.Namespace })
		if n < 0 {
			out, n = append(out, Group{Namespace: i.Ref.Namespace}), len(out)
		}
		out[n].DataPlanes = append(out[n].DataPlanes, planeOf(i))
	}
	slices.SortFunc(out, func(a, b Group) int { return cmp.Compare(a.Namespace, b.Namespace) })
	for _, g := range out {
		slices.SortStableFunc(g.DataPlanes, func(a, b DataPlane) int {
			return cmp.Or(-boolCompare(a.Gateway(), b.Gateway()), cmp.Compare(a.String(), b.String()))
		})
	}
	return out
}

func planeOf(i rollout.Item) DataPlane {
	return DataPlane{
		Namespace: i.Ref.Namespace, Kind: i.Ref.Kind, Name: i.Ref.Name, Role: string(i.Role), State: string(i.State),
		Message: i.Message, Pods: i.Pods, MovedPods: i.MovedPods, Warnings: i.Warnings, OnRequest: i.OnRequest,
	}
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// Plan says, before anything happens, what an upgrade would do.
type Plan struct {
	From        string `json:"from"`
	FromVersion string `json:"fromVersion"`
	To          string `json:"to"`
	ToVersion   string `json:"toVersion"`
	Kubernetes  string `json:"kubernetes"`
	// Supported is false when the path is refused; Refusal says why and what to do.
	Supported bool   `json:"supported"`
	Refusal   string `json:"refusal,omitempty"`
	// Checks is what the preflight found; nil when it was not made.
	Checks *PlanChecks `json:"checks,omitempty"`
	// Forecast is how long it takes to move all data planes as a rollout does it that is told nothing else; nil when no pod tells.
	Forecast *v1alpha1.RolloutForecast `json:"forecast,omitempty"`
	// Steps of the upgrade in words.
	Steps  []PlanStep `json:"steps"`
	Groups []Group    `json:"namespaces"`
	// EnvoyFilters that have to be acknowledged, as namespace/name with owner.
	EnvoyFilters []EnvoyFilter `json:"envoyFilters"`
	Next         []Next        `json:"next"`
}

// PlanChecks sums up a preflight.
type PlanChecks struct {
	Passed  bool                       `json:"passed"`
	Summary map[preflight.Severity]int `json:"summary"`
	// Text is the summary in one line, and Command shows the rest.
	Text    string `json:"text"`
	Command string `json:"command"`
}

// PlanStep is one step of a plan.
type PlanStep struct {
	Number int    `json:"number"`
	Title  string `json:"title"`
	Text   string `json:"text"`
}

// EnvoyFilter is one EnvoyFilter with its acknowledgement.
type EnvoyFilter struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Hash      string `json:"hash"`
	Owner     string `json:"owner,omitempty"`
	// Verdict for the target version (fine, changes, unknown, breaks) and Why; empty when it was not asked for.
	Verdict      string `json:"verdict,omitempty"`
	Why          string `json:"why,omitempty"`
	Acknowledged bool   `json:"acknowledged"`
	By           string `json:"by,omitempty"`
	At           string `json:"at,omitempty"`
	Note         string `json:"note,omitempty"`
}

// Explain fills in the steps of the plan from the rest of it.
func (p *Plan) Explain() {
	var gateways, sidecars int
	var pods int32
	for _, g := range p.Groups {
		for _, d := range g.DataPlanes {
			switch {
			case !d.Movable():
				continue
			case d.Gateway():
				gateways++
			default:
				sidecars++
			}
			pods += d.Pods
		}
	}
	filters := "there are none: the check is complete at once"
	if n := len(p.EnvoyFilters); n > 0 {
		filters = Count(n, "EnvoyFilter") + " to check against Istio " + p.ToVersion + " with their owners and to acknowledge, see below"
	}
	texts := []string{
		"components besides Istio (the agent, operators) are made sure to be at their newest version",
		fmt.Sprintf("istiod %s is installed beside %s as revision %s, with the Helm values of %s; nothing that runs is touched", p.ToVersion, p.FromVersion, p.To, p.From),
		filters,
		fmt.Sprintf("%s and %s (%s) restart by rolling update, a few at a time, when you say so; long connections are cut once", Count(sidecars, "workload")+" with sidecars", Count(gateways, "gateway"), Count(pods, "pod")),
		fmt.Sprintf("istiod %s is removed when you say so, and only when nothing uses it any more", p.FromVersion),
	}
	if p.Forecast != nil {
		texts[3] += fmt.Sprintf("; all of them, %d at the same time, take %s", v1alpha1.DefaultParallelism, Forecast(p.Forecast))
	}
	p.Steps = nil
	for n, s := range stepOrder {
		p.Steps = append(p.Steps, PlanStep{n + 1, s.title, texts[n]})
	}
}

// Render shows the plan.
func (p Plan) Render(o Options) string {
	w := newPage(o)
	w.line("", fmt.Sprintf("%s Istio %s (revision %s) → %s (revision %s)", o.Theme.Bold("Path"), dash(p.FromVersion), p.From, p.ToVersion, p.To))
	if !p.Supported {
		w.line(o.Theme.Bad("✗")+" ", p.Refusal)
		return w.String()
	}
	w.line(o.Theme.Good("✓")+" ", "supported on Kubernetes "+strings.TrimPrefix(p.Kubernetes, "v"))
	if c := p.Checks; c != nil {
		glyph := o.Theme.Good("✓")
		if !c.Passed {
			glyph = o.Theme.Bad("✗")
		}
		w.line(glyph+" ", c.Text+": "+o.Theme.Bold(c.Command))
	}
	w.blank()
	width := 0
	for _, s := range p.Steps {
		width = max(width, len(s.Title))
	}
	for _, s := range p.Steps {
		w.line(fmt.Sprintf("  %d %-*s  ", s.Number, width, s.Title), s.Text)
	}
	w.blank()
	renderGroups(w, p.Groups)
	if len(p.EnvoyFilters) > 0 {
		w.blank()
		w.heading("EnvoyFilters to acknowledge")
		rows := [][]string{}
		for _, f := range p.EnvoyFilters {
			row := []string{f.Namespace + "/" + f.Name, "owner " + dash(f.Owner)}
			if f.Verdict != "" {
				row = append(row, o.Theme.verdict(f.Verdict, f.Verdict+reasonOf(f.Why)))
			}
			rows = append(rows, row)
		}
		w.table("  ", rows)
	}
	if len(p.Next) > 0 {
		w.blank()
		renderNext(w, p.Next)
	}
	return w.String()
}

// Remaining leaves out what has moved already.
func Remaining(groups []Group) []Group {
	var out []Group
	for _, g := range groups {
		planes := slices.DeleteFunc(slices.Clone(g.DataPlanes), func(d DataPlane) bool { return d.State == string(rollout.Moved) })
		if len(planes) > 0 {
			out = append(out, Group{g.Namespace, planes})
		}
	}
	return out
}

// GroupsText is what would move, by namespace.
func GroupsText(groups []Group, o Options) string {
	p := newPage(o)
	renderGroups(p, groups)
	return p.String()
}

// renderGroups writes what would move, by namespace, with every warning.
func renderGroups(p *page, groups []Group) {
	if len(groups) == 0 {
		p.line("", "No data plane uses this revision.")
		return
	}
	for n, g := range groups {
		if n > 0 {
			p.blank()
		}
		movable, pods := g.Count(DataPlane.Movable)
		p.linef("", "%s  %s to move, %s", p.Theme.Bold(g.Namespace), Count(movable, "data plane"), Count(pods, "pod"))
		var rows [][]string
		flush := func() { p.table("  ", rows); rows = nil }
		for _, d := range g.DataPlanes {
			rows = append(rows, []string{d.Kind + "/" + d.Name, RoleWord(d), Count(d.Pods, "pod"), p.Theme.dataPlane(d)})
		}
		flush()
		for _, d := range g.DataPlanes {
			for _, text := range d.Warnings {
				p.line("  "+p.Theme.Warn("!")+" ", text)
			}
			if d.State == string(rollout.Unsupported) {
				p.line("  "+p.Theme.Warn("!")+" ", d.Message)
			}
		}
	}
}

// RoleWord is the role as people write it.
func RoleWord(d DataPlane) string {
	switch d.Role {
	case "Sidecar":
		return "sidecar"
	case "IngressGateway":
		return "ingress gateway"
	case "EgressGateway":
		return "egress gateway"
	}
	return "gateway"
}

func (t Theme) dataPlane(d DataPlane) string {
	switch rollout.State(d.State) {
	case rollout.Moved:
		return t.Good("moved")
	case rollout.Moving:
		return t.Busy("moving: " + d.Message)
	case rollout.Failed:
		return t.Bad("failed: " + d.Message)
	case rollout.Excluded:
		return t.Dim("stays: " + d.Message)
	case rollout.Unsupported:
		return t.Warn("cannot be moved by Meshlift")
	}
	return "moves"
}
