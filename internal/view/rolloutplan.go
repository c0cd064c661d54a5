package view

import (
	"fmt"
	"strings"
	"time"

	"meshlift.dev/meshlift/api/v1alpha1"
	"meshlift.dev/meshlift/internal/rollout"
	"meshlift.dev/meshlift/internal/window"
)

// RolloutPlan says, before anything happens, what a rollout would do, in which order and how fast.
type RolloutPlan struct {
	Name      string             `json:"name"`
	Upgrade   string             `json:"upgrade"`
	Direction v1alpha1.Direction `json:"direction"`
	// To is the revision that data planes move to, with its version.
	To        string `json:"to"`
	ToVersion string `json:"toVersion"`
	// Pace in words, one line for each thing that was said about it.
	Pace []PaceLine `json:"pace"`
	// Forecast is how long it would take; nil when no pod tells how long it took to become ready.
	Forecast *v1alpha1.RolloutForecast `json:"forecast,omitempty"`
	// Waits says why no move would start now; empty when moves would start at once.
	Waits string `json:"waits,omitempty"`
	// Refusal says why the rollout would not be accepted now; empty when it would.
	Refusal string     `json:"refusal,omitempty"`
	Waves   []PlanWave `json:"waves"`
	// Spec is what would be created.
	Spec v1alpha1.DataPlaneRolloutSpec `json:"spec"`
}

// PaceLine is one thing that was said about the pace.
type PaceLine struct {
	What string `json:"what"`
	Text string `json:"text"`
}

// PlanWave is one wave with its data planes in the order in which their moves start.
type PlanWave struct {
	Name string `json:"name"`
	// Soak after the wave, as a duration; empty for none.
	Soak       string      `json:"soak,omitempty"`
	DataPlanes []DataPlane `json:"dataPlanes"`
}

// NewRolloutPlan puts a plan together; cp may be nil.
func NewRolloutPlan(r *v1alpha1.DataPlaneRollout, to v1alpha1.RevisionRef, waves []rollout.PlannedWave, cp *v1alpha1.ControlPlane, now window.State) RolloutPlan {
	out := RolloutPlan{
		Name: r.Name, Upgrade: r.Spec.Upgrade, Direction: r.Spec.Direction, To: to.Revision, ToVersion: to.Version, Spec: r.Spec, Waits: now.Message,
	}
	pods := int32(0)
	for _, w := range waves {
		wave := PlanWave{Name: w.Name, DataPlanes: []DataPlane{}}
		if w.Soak > 0 {
			wave.Soak = window.Short(w.Soak)
		}
		for _, i := range w.Items {
			d := planeOf(i)
			wave.DataPlanes = append(wave.DataPlanes, d)
			if i.State != rollout.Excluded && i.State != rollout.Unsupported {
				pods += d.Pods
			}
		}
		out.Waves = append(out.Waves, wave)
	}
	out.Pace = Pace(&r.Spec, cp, pods)
	return out
}

// Expect adds how long the rollout would take.
func (v *RolloutPlan) Expect(f *v1alpha1.RolloutForecast) {
	if v.Forecast = f; f != nil {
		v.Pace = append(v.Pace, PaceLine{"expected", Forecast(f) + "; windows, gates, budgets and pulls of images are not in it"})
	}
}

// Forecast says how long a rollout is expected to take.
func Forecast(f *v1alpha1.RolloutForecast) string {
	text := "about " + window.Short(f.P50.Round(time.Second))
	if f.P95 != f.P50 {
		text += fmt.Sprintf(", 95 times of 100 within %s", window.Short(f.P95.Round(time.Second)))
	}
	text += ", by how long pods took to become ready"
	if f.Guessed > 0 {
		text += fmt.Sprintf(" (%s taken to be as fast as the others)", Count(f.Guessed, "data plane"))
	}
	return text
}

// Pace says everything about the pace of a rollout in words; cp may be nil, and pods is 0 when their number is not known.
func Pace(s *v1alpha1.DataPlaneRolloutSpec, cp *v1alpha1.ControlPlane, pods int32) []PaceLine {
	out := []PaceLine{{"at the same time", together(s, pods)}, {"order", orderWords(s)}}
	windows := func(whose string, list []v1alpha1.Window, freezes []v1alpha1.Freeze) {
		for _, w := range list {
			out = append(out, PaceLine{"window" + whose, window.Describe(w)})
		}
		for _, f := range freezes {
			out = append(out, PaceLine{"freeze" + whose, f.Name + ", " + window.DescribeFreeze(f)})
		}
	}
	if s.Direction != v1alpha1.Back {
		windows("", s.Windows, s.Freezes)
		if cp != nil {
			windows(" of the cluster", cp.Spec.Windows, cp.Spec.Freezes)
		}
	}
	if s.Health.Looks() && s.Direction != v1alpha1.Back {
		out = append(out, PaceLine{"health", healthWords(s.Health)})
	}
	return append(out, PaceLine{"on failure", failureWords(s)})
}

func healthWords(h *v1alpha1.Health) string {
	after := "it stays"
	if h.MovesBack() {
		after = "it is moved back"
	}
	var parts []string
	if sync := h.Sync(); sync > 0 {
		parts = append(parts, fmt.Sprintf("new proxies are in sync with the new istiod %s after they are ready", window.Short(sync)))
	}
	if m := h.Metrics; m != nil {
		failing, slow := m.Margins()
		parts = append(parts, fmt.Sprintf("the shares of requests that fail and that are slow grow by at most %.0f and %.0f percentage points in %s", 100*failing, 100*slow, window.Short(m.For())))
	}
	return fmt.Sprintf("%s; else %s, and no further workload is touched", strings.Join(parts, ", and "), after)
}

func together(s *v1alpha1.DataPlaneRolloutSpec, pods int32) string {
	limits := rollout.LimitsOf(s, pods)
	parts := []string{"any number of workloads"}
	if limits.Workloads > 0 {
		parts[0] = Count(limits.Workloads, "workload")
	}
	if limits.PerNamespace > 0 {
		parts = append(parts, Count(limits.PerNamespace, "workload")+" of one namespace")
	}
	if limits.Pods > 0 {
		budget := Count(limits.Pods, "pod")
		switch share := strings.HasSuffix(s.MaxPods.String(), "%"); {
		case share && pods == 0:
			budget = s.MaxPods.String() + " of the pods"
		case share:
			budget += fmt.Sprintf(" (%s of %d)", s.MaxPods.String(), pods)
		}
		parts = append(parts, budget)
	}
	return strings.Join(parts, ", ")
}

func orderWords(s *v1alpha1.DataPlaneRolloutSpec) string {
	var parts []string
	if len(s.NamespaceOrder) > 0 {
		parts = append(parts, "namespaces "+strings.Join(s.NamespaceOrder, ", ")+", then the others")
	}
	switch s.Gateways {
	case v1alpha1.GatewaysFirst:
		parts = append(parts, "gateways first")
	case v1alpha1.GatewaysMixed:
		parts = append(parts, "gateways mixed with sidecars")
	default:
		parts = append(parts, "gateways last")
	}
	return strings.Join(parts, "; ")
}

func failureWords(s *v1alpha1.DataPlaneRolloutSpec) string {
	words := map[v1alpha1.FailurePolicy]string{
		v1alpha1.FailureContinue:            "go on with the others",
		v1alpha1.FailureMoveBack:            "move the failed one back, start nothing new",
		v1alpha1.FailureMoveBackAndContinue: "move the failed one back, go on with the others",
	}[s.FailurePolicy]
	if words == "" {
		words = "start nothing new"
	}
	if s.MaxFailures != nil && s.FailurePolicy.GoesOn() {
		words += fmt.Sprintf(", until more than %d have failed", *s.MaxFailures)
	}
	if s.Timeout.Duration > 0 {
		return words + "; a workload has failed when it is not ready after " + window.Short(s.Timeout.Duration.Round(time.Second))
	}
	return words
}

// Render shows the plan.
func (v RolloutPlan) Render(o Options) string {
	p := newPage(o)
	p.linef("", "%s %s  to Istio %s (revision %s)", o.Theme.Bold("Rollout"), v.Name, dash(v.ToVersion), v.To)
	p.blank()
	var rows [][]string
	for _, l := range v.Pace {
		rows = append(rows, []string{l.What, l.Text})
	}
	p.table("  ", rows)
	for n, w := range v.Waves {
		p.blank()
		v.wave(p, n, w)
	}
	for _, note := range []string{v.Waits, v.Refusal} {
		if note != "" {
			p.blank()
			p.line(o.Theme.Warn("!")+" ", note)
		}
	}
	return p.String()
}

func (v RolloutPlan) wave(p *page, n int, w PlanWave) {
	g := Group{DataPlanes: w.DataPlanes}
	movable, pods := g.Count(DataPlane.Movable)
	title := ""
	if len(v.Spec.Waves) > 0 {
		title = p.Theme.Bold(fmt.Sprintf("Wave %d %s", n+1, w.Name)) + "  "
	}
	soak := ""
	if w.Soak != "" && n+1 < len(v.Waves) {
		soak = "; then it soaks for " + w.Soak
	}
	p.linef("", "%s%s to move, %s%s", title, Count(movable, "data plane"), Count(pods, "pod"), soak)
	var rows [][]string
	for _, d := range w.DataPlanes {
		rows = append(rows, []string{d.String(), RoleWord(d), Count(d.Pods, "pod"), p.Theme.dataPlane(d)})
	}
	p.table("  ", rows)
	for _, d := range w.DataPlanes {
		for _, text := range d.Warnings {
			p.line("  "+p.Theme.Warn("!")+" ", text)
		}
		if d.State == string(rollout.Unsupported) {
			p.line("  "+p.Theme.Warn("!")+" ", d.Message)
		}
	}
}

// waves shows how far each wave of a running rollout is.
func (v Progress) waves(p *page) {
	waves := v.Rollout.Status.Waves
	if len(waves) == 0 {
		return
	}
	p.blank()
	var rows [][]string
	for n, w := range waves {
		if w.Counts.Total == 0 {
			continue
		}
		rows = append(rows, []string{
			fmt.Sprintf("wave %d %s", n+1, w.Name), p.Theme.bar(int(w.Counts.Done+w.Counts.Skipped), int(w.Counts.Total)), fmt.Sprintf("%d/%d", w.Counts.Done, w.Counts.Total), v.waveState(w, p.Theme),
		})
	}
	p.table("  ", rows)
}

// waveState says what a wave does, soaking included.
func (v Progress) waveState(w v1alpha1.WaveStatus, t Theme) string {
	switch {
	case w.CompletedAt == nil && w.Counts.Moving == 0 && w.Counts.Pending > 0:
		return t.Dim("waits")
	case w.CompletedAt == nil && w.Counts.Pending+w.Counts.Moving > 0:
		return t.Busy("moving")
	case w.CompletedAt == nil:
		return ""
	}
	for _, s := range v.Rollout.Spec.Waves {
		if s.Name != w.Name || s.Soak == nil {
			continue
		}
		if until := w.CompletedAt.Add(s.Soak.Duration); v.Now.Before(until) && !Complete(v.Rollout) {
			return t.Busy("complete, soaks for another " + window.Short(until.Sub(v.Now).Round(time.Second)))
		}
	}
	return t.Good("complete")
}
